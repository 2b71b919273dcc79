"""Aliases of a model's versions, and the history of their moves."""

import uuid

from pydantic import BaseModel, ConfigDict, Field

from nasflow.registry._base import Change


class Aliases(BaseModel):
    """Which version each alias names, and every move."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    aliases: dict[str, int] = Field(default_factory=dict)
    history: tuple[Change, ...] = ()

    def moved(self, alias: str, version: int, kind: str, reason: str) -> "Aliases":
        """The same with one more move."""
        change = Change.model_validate(
            {
                "id": uuid.uuid4().hex,
                "alias": alias,
                "kind": kind,
                "from_version": self.aliases.get(alias),
                "to_version": version,
                "reason": reason,
            }
        )
        return Aliases(aliases={**self.aliases, alias: version}, history=(*self.history, change))

    def trail(self, alias: str) -> list[int]:
        """Where the alias has been, rolled-back versions taken out; the last is where it is."""
        trail: list[int] = []
        for change in self.history:
            if change.alias == alias and change.kind == "promote":
                trail.append(change.to_version)
            elif change.alias == alias:
                trail.pop()
        return trail
