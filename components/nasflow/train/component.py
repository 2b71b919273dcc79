"""`train` as a Kubeflow Pipelines component."""

from kfp import dsl
from kfp.dsl import HTML, Artifact, Dataset, Input, Model, Output

from nasflow.core.version import VERSION


@dsl.component(base_image=f"nasflow/trainer:{VERSION}", install_kfp_package=False)
def train(
    *,
    spec: str,
    work_dir: str,
    run_id: str,
    dataset: Input[Dataset],
    search: Input[Artifact],
    model: Output[Model],
    report: Output[HTML],
) -> None:
    """Trains the best candidates from scratch, several seeds each, and exports the winner as a bundle.

    Args:
        spec: The ExperimentSpec as JSON or YAML (`nasflow schema` prints its JSON schema).
        work_dir: Where shards, checkpoints and bundles go, and where a retry finds earlier work: a `gs://` prefix, or a
            local path that every task sees.
        run_id: Names this run; the task leaves its record at `work_dir/runs/RUN_ID/train.json`.
        dataset: The Dataset document of `preprocess`.
        search: The Search document of `search`.
        model: The Model document; the bundle (`.keras`, SavedModel, golden rows) stays under work_dir.
        report: The report, a self-contained page.
    """
    from nasflow.core import artifacts, lineage, spec_file
    from nasflow.core.task import task

    with task("train", work_dir=work_dir, run_id=run_id) as current:
        from nasflow.train import spec as step_spec
        from nasflow.train import step

        document = step.run(
            step_spec.TrainSpec.of(spec_file.from_json(spec)),
            dataset=artifacts.Dataset.read(dataset.path),
            search=artifacts.Search.read(search.path),
            work_dir=work_dir,
            output=model.path,
        )
        model.metadata.update(lineage.metadata(current.done(document)))
        document.copy_file("report.html", report.path)
