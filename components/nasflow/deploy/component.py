"""`deploy` as a Kubeflow Pipelines component."""

from kfp import dsl
from kfp.dsl import Artifact, Input, Output

from nasflow.core.version import VERSION


@dsl.component(base_image=f"nasflow/server:{VERSION}", install_kfp_package=False)
def deploy(
    *,
    spec: str,
    work_dir: str,
    run_id: str,
    registered: Input[Artifact],
    evaluation: Input[Artifact],
    endpoint: Output[Artifact],
) -> None:
    """Serves the registered version and compares its answers to the golden rows with the evaluated predictions.

    Args:
        spec: The ExperimentSpec as JSON or YAML (`nasflow schema` prints its JSON schema).
        work_dir: Where shards, checkpoints and bundles go, and where a retry finds earlier work: a `gs://` prefix, or a
            local path that every task sees.
        run_id: Names this run; the task leaves its record at `work_dir/runs/RUN_ID/deploy.json`.
        registered: The RegisteredModel document of `register`.
        evaluation: The Evaluation document of `evaluate`.
        endpoint: The Endpoint document.
    """
    from nasflow.core import artifacts, lineage, spec_file
    from nasflow.core.task import task

    with task("deploy", work_dir=work_dir, run_id=run_id) as current:
        from nasflow.deploy import spec as step_spec
        from nasflow.deploy import step

        document = step.run(
            step_spec.DeploySpec.of(spec_file.from_json(spec)),
            registered=artifacts.RegisteredModel.read(registered.path),
            evaluation=artifacts.Evaluation.read(evaluation.path),
            work_dir=work_dir,
            output=endpoint.path,
        )
        endpoint.metadata.update(lineage.metadata(current.done(document)))
