"""`preprocess` as a Kubeflow Pipelines component."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Output

from nasflow.core.version import VERSION


@dsl.component(base_image=f"nasflow/beam:{VERSION}", install_kfp_package=False)
def preprocess(
    *,
    spec: str,
    work_dir: str,
    run_id: str,
    dataset: Output[Dataset],
    report: Output[HTML],
) -> None:
    """Makes a Dataset: typed, split by hash, transformed by what the train split alone says.

    Args:
        spec: The ExperimentSpec as JSON or YAML (`nasflow schema` prints its JSON schema).
        work_dir: Where shards, checkpoints and bundles go, and where a retry finds earlier work: a `gs://` prefix, or a
            local path that every task sees.
        run_id: Names this run; the task leaves its record at `work_dir/runs/RUN_ID/preprocess.json`.
        dataset: The Dataset document: manifest, schema, transform, statistics. The shards stay under work_dir.
        report: The report, a self-contained page.
    """
    from nasflow.core import lineage, spec_file
    from nasflow.core.task import task

    with task("preprocess", work_dir=work_dir, run_id=run_id) as current:
        from nasflow.preprocess import spec as step_spec
        from nasflow.preprocess import step

        document = step.run(
            step_spec.PreprocessSpec.of(spec_file.from_json(spec)),
            work_dir=work_dir,
            output=dataset.path,
        )
        dataset.metadata.update(lineage.metadata(current.done(document)))
        document.copy_file("report.html", report.path)
