"""What the deploy step depends on."""

from typing import Literal, Self

from nasflow.core.spec import ExperimentSpec, Section


class DeploySpec(Section):
    """The deploy step's part of an experiment."""

    target: Literal["local"] = "local"
    """`local`: a server on loopback answers the golden rows, then stops."""
    timeout_seconds: int = 120
    """The server must be ready by then."""

    @classmethod
    def of(cls, experiment: ExperimentSpec) -> Self:
        """Takes the parts that matter."""
        return cls(target=experiment.deploy.target, timeout_seconds=experiment.deploy.timeout_seconds)
