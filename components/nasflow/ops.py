"""The six steps as Kubeflow Pipelines components: all that a pipeline author imports.

    from kfp import dsl
    from nasflow.ops import preprocess, search

    @dsl.pipeline
    def mine(spec: str, work_dir: str) -> None:
        run_id = dsl.PIPELINE_JOB_ID_PLACEHOLDER
        data = preprocess(spec=spec, work_dir=work_dir, run_id=run_id)
        search(spec=spec, work_dir=work_dir, run_id=run_id, dataset=data.outputs["dataset"])

Importing this loads neither TensorFlow nor Beam: a component's body runs in its own image.
"""

from nasflow.deploy.component import deploy
from nasflow.evaluate.component import evaluate
from nasflow.preprocess.component import preprocess
from nasflow.register.component import register
from nasflow.search.component import search
from nasflow.train.component import train

__all__ = ["deploy", "evaluate", "preprocess", "register", "search", "train"]
