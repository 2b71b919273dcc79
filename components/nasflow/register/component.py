"""`register` as a Kubeflow Pipelines component."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from nasflow.core.version import VERSION


@dsl.component(base_image=f"nasflow/ops:{VERSION}", install_kfp_package=False)
def register(
    *,
    spec: str,
    work_dir: str,
    run_id: str,
    dataset: Input[Dataset],
    search: Input[Artifact],
    model: Input[Model],
    evaluation: Input[Artifact],
    registered: Output[Artifact],
) -> None:
    """Puts the model's bundle into the registry as the next version; promotes it if the evaluation says so.

    Args:
        spec: The ExperimentSpec as JSON or YAML (`nasflow schema` prints its JSON schema).
        work_dir: Where shards, checkpoints and bundles go, and where a retry finds earlier work: a `gs://` prefix, or a
            local path that every task sees.
        run_id: Names this run; the task leaves its record at `work_dir/runs/RUN_ID/register.json`.
        dataset: The Dataset document of `preprocess`.
        search: The Search document of `search`.
        model: The Model document of `train`.
        evaluation: The Evaluation document of `evaluate`.
        registered: The RegisteredModel document.
    """
    from nasflow.core import artifacts, lineage, spec_file
    from nasflow.core.task import task

    with task("register", work_dir=work_dir, run_id=run_id) as current:
        from nasflow.register import spec as step_spec
        from nasflow.register import step

        document = step.run(
            step_spec.RegisterSpec.of(spec_file.from_json(spec)),
            dataset=artifacts.Dataset.read(dataset.path),
            search=artifacts.Search.read(search.path),
            model=artifacts.Model.read(model.path),
            evaluation=artifacts.Evaluation.read(evaluation.path),
            work_dir=work_dir,
            output=registered.path,
        )
        registered.metadata.update(lineage.metadata(current.done(document)))
