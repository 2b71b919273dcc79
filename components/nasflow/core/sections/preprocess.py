"""`preprocess`: which engine runs Beam."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from nasflow.core.sections._base import Section

BeamRunner = Literal["local", "portable", "flink", "spark", "dataflow"]


class PreprocessSection(Section):
    """Where Beam runs the preprocess step. The Dataset is the same, byte for byte: finished work is reused."""

    runner: BeamRunner = "local"
    """`local`: in this process. `portable`: any Beam job server (`options.job_endpoint`; `embed`: one in this process).
    `flink`, `spark`: with `options.job_endpoint`, or Beam starts a job server itself (Java). `dataflow`: Google's."""
    options: dict[str, bool | int | float | str | list[str]] = Field(default={})
    """Beam's pipeline options by their names, passed through: `{job_endpoint: "host:8099", environment_type: EXTERNAL,
    environment_config: "localhost:50000", parallelism: 8}`. The workers need nasflow and see data and work dir."""
    start_minutes: Annotated[float, Field(gt=0)] = 10.0
    """The first worker must have begun by then: a worker pool whose `python` lacks Beam never does. Not for `local`."""
    timeout_minutes: Annotated[float, Field(gt=0)] = 1440.0
    """The step's Beam jobs are cancelled after so long. Not for `local`, which `resources.timeout_hours` ends."""

    @model_validator(mode="after")
    def _has_what_the_runner_needs(self) -> Self:
        for key in self.options:
            if not _OPTION.fullmatch(key):
                raise ValueError(f"options: {key!r} is no option's name; write it without dashes, like job_name")
        if "runner" in self.options:
            raise ValueError("options: runner has a key of its own; set preprocess.runner")
        for option, why in _NEEDED_OPTIONS[self.runner].items():
            if not self.options.get(option):
                raise ValueError(f"runner {self.runner} needs options.{option}: {why}")
        return self


_OPTION = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_ENVIRONMENT = {
    "environment_type": "EXTERNAL (a worker pool at options.environment_config), LOOPBACK (workers in this process) or "
    "DOCKER (the image beam-sdk at options.environment_config)"
}
_NEEDED_OPTIONS: dict[BeamRunner, dict[str, str]] = {
    "local": {},
    "portable": {"job_endpoint": "host:port of the Beam job server, or embed", **_ENVIRONMENT},
    "flink": _ENVIRONMENT,
    "spark": _ENVIRONMENT,
    "dataflow": {
        "project": "the Google Cloud project",
        "region": "where the workers run",
        "temp_location": "a gs:// prefix for Dataflow's own files",
        "sdk_container_image": "the workers' image: beam-sdk of `make images`, in a registry that they reach",
    },
}
