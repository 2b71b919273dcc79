"""What the register step depends on."""

from typing import Any, Self

from pydantic import Field

from nasflow.core.spec import ExperimentSpec, Section


class RegisterSpec(Section):
    """The register step's part of an experiment."""

    experiment: str
    """The experiment's name, noted in the version."""
    name: str
    """The model's name in the registry."""
    registry: str = "file"
    """Kind of registry."""
    uri: str | None = None
    """The registry's folder or `gs://` prefix; left out: `WORK_DIR/registry`."""
    server: str | None = None
    """The server that mirrors it."""
    whole: dict[str, Any] = Field(default={}, exclude=True)
    """The experiment as it was run, kept with the version. A change of other sections makes no new version, so it is
    left out of the digest that names finished work."""

    @classmethod
    def of(cls, experiment: ExperimentSpec) -> Self:
        """Takes the parts that matter."""
        section = experiment.register_
        return cls(
            experiment=experiment.name,
            name=experiment.model_name,
            registry=section.registry,
            uri=section.uri,
            server=section.server,
            whole=experiment.model_dump(mode="json"),
        )
