"""The pipeline: preprocess → search → train → evaluate → register → deploy, if the evaluation says so."""

from typing import Any

from kfp import dsl

from nasflow import ops
from nasflow.core import spec_file
from nasflow.core.spec import ExperimentSpec
from nasflow_pipelines.compiling import name_of
from nasflow_pipelines.hold import hold
from nasflow_pipelines.resources import Resources


def build(experiment: ExperimentSpec, *, run_id: str = dsl.PIPELINE_JOB_ID_PLACEHOLDER, cluster: bool = True) -> Any:
    """The kfp pipeline of one experiment, with parameters ``work_dir`` and ``spec`` (default: this experiment).

    What Kubernetes gives a task (images, GPUs, retries) is fixed here, at compile time: kfp cannot take it from a
    parameter. A `spec` given to a run therefore changes everything but ``resources``.

    Args:
        experiment: What to run.
        run_id: Names the records under ``work_dir``; a cluster's run brings its own.
        cluster: Whether retries, timeouts and GPUs are set; a local run does without.
    """
    place = Resources.of(experiment, cluster=cluster)

    @dsl.pipeline(name=name_of(experiment), description=f"{experiment.task}: {experiment.data.train}")
    def pipeline(work_dir: str, spec: str = spec_file.to_json(experiment)) -> None:
        run = {"work_dir": work_dir, "run_id": run_id}
        dataset = place.cpu(ops.preprocess(spec=spec, **run), "beam").outputs["dataset"]
        searched = place.searching(ops.search(spec=spec, **run, dataset=dataset), experiment.search.launcher)
        search = searched.outputs["search"]
        model = place.accelerated(ops.train(spec=spec, **run, dataset=dataset, search=search)).outputs["model"]
        judged = place.accelerated(ops.evaluate(spec=spec, **run, dataset=dataset, model=model))
        evaluation = judged.outputs["evaluation"]
        registered = place.cpu(
            ops.register(spec=spec, **run, dataset=dataset, search=search, model=model, evaluation=evaluation), "ops"
        ).outputs["registered"]
        with dsl.If(judged.outputs["promoted"] == True, name="promoted"):  # noqa: E712  # kfp builds the condition
            deploying = ops.deploy(spec=spec, **run, registered=registered, evaluation=evaluation)
            place.deploying(deploying, experiment.deploy)
        with dsl.Else(name="not-promoted"):  # kfp's local runner skips an If on a named output that has no Else
            place.cpu(hold(**run, evaluation=evaluation), "ops")

    return pipeline
