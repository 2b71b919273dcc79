"""From an experiment to pipeline YAML."""

import hashlib
import logging
import warnings
from pathlib import Path

from nasflow.core.errors import UserError
from nasflow.core.spec import ExperimentSpec
from nasflow.core.version import VERSION
from nasflow_pipelines.kinds import PipelineName, kind_of


def name_of(experiment: ExperimentSpec, pipeline: PipelineName = "automl") -> str:
    """The pipeline's name on a server."""
    return f"nasflow-{experiment.name}" if pipeline == "automl" else f"nasflow-{experiment.name}-{pipeline}"


def version_of(compiled: Path) -> str:
    """A version's name: nasflow's version and a digest of the YAML, so that equal pipelines are recognised."""
    return f"{VERSION}-{hashlib.sha256(compiled.read_bytes()).hexdigest()[:12]}"


def compile_to(
    experiment: ExperimentSpec, path: Path, *, work_dir: str | None = None, pipeline: PipelineName = "automl"
) -> None:
    """Writes pipeline YAML; `work_dir` becomes the parameter's default, without it a run must name one.

    Raises:
        UserError: the file cannot be written, or its name does not end in .yaml.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise UserError(f"{path}: the name must end in .yaml")
    from kfp import compiler

    logging.getLogger("kfp").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # kfp's deprecation warnings are not the user's
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            compiler.Compiler().compile(
                kind_of(pipeline).build(experiment),
                str(path),
                pipeline_parameters={"work_dir": work_dir} if work_dir is not None else None,
            )
        except OSError as error:
            raise UserError(f"{path}: cannot be written: {error}") from error
