"""`search` as a Kubeflow Pipelines component."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Output

from nasflow.core.version import VERSION


@dsl.component(base_image=f"nasflow/trainer:{VERSION}", install_kfp_package=False)
def search(
    *,
    spec: str,
    work_dir: str,
    run_id: str,
    dataset: Input[Dataset],
    search: Output[Artifact],
    report: Output[HTML],
) -> None:
    """Searches an architecture with Keras Tuner within the budget; goes on from its ledger when retried.

    Args:
        spec: The ExperimentSpec as JSON or YAML (`nasflow schema` prints its JSON schema).
        work_dir: Where shards, checkpoints and bundles go, and where a retry finds earlier work: a `gs://` prefix, or a
            local path that every task sees.
        run_id: Names this run; the task leaves its record at `work_dir/runs/RUN_ID/search.json`.
        dataset: The Dataset document of `preprocess`.
        search: The Search document: candidates best first, architectures, trials.
        report: The report, a self-contained page.
    """
    from nasflow.core import artifacts, lineage, spec_file
    from nasflow.core.task import task

    with task("search", work_dir=work_dir, run_id=run_id) as current:
        from nasflow.search import spec as step_spec
        from nasflow.search import step

        document = step.run(
            step_spec.SearchSpec.of(spec_file.from_json(spec)),
            dataset=artifacts.Dataset.read(dataset.path),
            work_dir=work_dir,
            output=search.path,
        )
        search.metadata.update(lineage.metadata(current.done(document)))
        document.copy_file("report.html", report.path)
