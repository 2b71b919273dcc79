"""Retraining: recall → preprocess → weigh → (search → train → evaluate → register → (deploy)).

The champion is read from the registry, and the new data are held against its. If they ask for another model, it is
made, judged against the champion on the same test rows, registered, and deployed only if it is better.
"""

from typing import Any

from kfp import dsl

from nasflow import ops
from nasflow.core import spec_file
from nasflow.core.spec import ExperimentSpec
from nasflow_pipelines.compiling import name_of
from nasflow_pipelines.hold import hold
from nasflow_pipelines.resources import Resources
from nasflow_pipelines.retrain_tasks import keep, recall, weigh


def build(experiment: ExperimentSpec, *, run_id: str = dsl.PIPELINE_JOB_ID_PLACEHOLDER, cluster: bool = True) -> Any:
    """The kfp pipeline of one experiment, with parameters ``work_dir`` and ``spec``; see `nasflow_pipelines.automl`.

    Args:
        experiment: What to run; `data` names the new data, `retrain` says when they ask for another model.
        run_id: Names the records under ``work_dir``; a cluster's run brings its own.
        cluster: Whether retries, timeouts and GPUs are set; a local run does without.
    """
    place = Resources.of(experiment, cluster=cluster)

    @dsl.pipeline(name=name_of(experiment, "retrain"), description=f"{experiment.task}, again: {experiment.data.train}")
    def pipeline(work_dir: str, spec: str = spec_file.to_json(experiment)) -> None:
        run = {"work_dir": work_dir, "run_id": run_id}
        recalled = place.cpu(recall(spec=spec, **run), "ops")
        known = recalled.outputs["spec"]
        dataset = place.cpu(ops.preprocess(spec=known, **run), "beam").outputs["dataset"]
        weighed = place.cpu(weigh(spec=known, **run, dataset=dataset, incumbent=recalled.outputs["incumbent"]), "ops")
        plan = weighed.outputs["spec"]
        with dsl.If(weighed.outputs["go"] == True, name="go"):  # noqa: E712  # kfp builds the condition
            searched = place.searching(ops.search(spec=plan, **run, dataset=dataset), experiment.search.launcher)
            search = searched.outputs["search"]
            model = place.accelerated(ops.train(spec=plan, **run, dataset=dataset, search=search)).outputs["model"]
            judged = place.accelerated(ops.evaluate(spec=plan, **run, dataset=dataset, model=model))
            evaluation = judged.outputs["evaluation"]
            registered = place.cpu(
                ops.register(spec=plan, **run, dataset=dataset, search=search, model=model, evaluation=evaluation),
                "ops",
            ).outputs["registered"]
            with dsl.If(judged.outputs["promoted"] == True, name="promoted"):  # noqa: E712  # as above
                deploying = ops.deploy(spec=plan, **run, registered=registered, evaluation=evaluation)
                place.deploying(deploying, experiment.deploy)
            with dsl.Else(name="not-promoted"):  # kfp's local runner skips an If on a named output that has no Else
                place.cpu(hold(**run, evaluation=evaluation), "ops")
        with dsl.Else(name="keep"):
            place.cpu(keep(**run, review=weighed.outputs["review"]), "ops")

    return pipeline
