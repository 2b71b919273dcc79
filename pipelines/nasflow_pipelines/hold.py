"""The task that runs where the decision says no."""

from kfp import dsl
from kfp.dsl import Artifact, Input

from nasflow.core.version import VERSION


@dsl.component(base_image=f"nasflow/ops:{VERSION}", install_kfp_package=False)
def hold(*, work_dir: str, run_id: str, evaluation: Input[Artifact]) -> None:
    """Leaves the model undeployed and logs why.

    Args:
        work_dir: As in every step.
        run_id: As in every step; the record is `work_dir/runs/RUN_ID/hold.json`.
        evaluation: The Evaluation document of `evaluate`.
    """
    import logging

    from nasflow.core.artifacts import Evaluation
    from nasflow.core.task import task

    with task("hold", work_dir=work_dir, run_id=run_id) as current:
        document = current.done(Evaluation.read(evaluation.path))
        for reason in document.decision.reasons:
            logging.getLogger("nasflow.hold").info("hold: not deployed: %s", reason)
