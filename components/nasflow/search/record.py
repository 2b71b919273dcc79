"""What the ledger knows of one trial, and of what a strategy had prepared."""

import dataclasses
from typing import Any, Literal

from nasflow.strategies._base import Result, Status

TrialStatus = Literal["running", "completed", "failed", "infeasible", "same", "filtered"]
Origin = Literal["preset", "earlier", "strategy", "shrunk", "supernet", "look"]

EndReason = Literal["trials", "hours", "device_hours", "money", "exhausted"]
"""What ended a search."""

SUGGESTED: frozenset[Origin] = frozenset({"strategy", "shrunk"})
"""What a strategy came up with; the rest was given."""
FREE: frozenset[TrialStatus] = frozenset({"infeasible", "same", "filtered"})
"""What was recorded and never trained."""


@dataclasses.dataclass(slots=True, kw_only=True)
class Record:
    """One trial, as far as the ledger tells."""

    trial_id: str
    values: dict[str, Any]
    origin: Origin
    """``earlier``: the best of an earlier study (`search.warm_start`). ``shrunk``: a suggestion that broke a
    constraint, changed until it did not. ``supernet``: derived from one (`nasflow.search.preparation`). ``look``: a
    finalist once more (`nasflow.search.finalists`)."""
    parents: tuple[str, ...] = ()
    """Trials that it descends from."""
    control: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Keras Tuner's own values, ``tuner/…``."""
    inherit: str | None = None
    """The trial whose weights it starts from."""
    horizon: int | None = None
    """Epochs that its learning-rate schedule spans; None: those that it is trained for."""
    same_as: str | None = None
    """The trial whose result this is: the same architecture, recipe and epochs, so it was not trained. Its status is
    ``same``, also while that trial runs; it has cost nothing."""
    look_of: str | None = None
    """The trial that this one trains once more, from the start, with other seeds; None: a trial of its own."""
    look: int = 0
    """Which look it is, from 1; 0: the trial itself."""
    filtered: str = ""
    """Why `search.filter` left it out; empty: it did not. Its status is ``filtered``."""
    architecture_id: str = ""
    parameters: int = 0
    flops: int = 0
    costs: dict[str, float] = dataclasses.field(default_factory=dict)
    """All that was counted: parameters, flops, activations, memory_mb, size_mb (of the weights alone), batch."""
    predicted_seconds: float | None = None
    """What the cost model said before it started."""
    status: TrialStatus = "running"
    deaths: int = 0
    """Worker processes that ended while they ran it."""
    stalled: int = 0
    """Times that it was started again since it last got through an epoch."""
    score: float | None = None
    """In the metric's own units."""
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    runs: list[float] = dataclasses.field(default_factory=list)
    """The score of each training that the trial is made of (seeds, folds), in their order."""
    notes: list[str] = dataclasses.field(default_factory=list)
    """What a reader of the score should know: a smaller batch, a stop before the last epoch, inherited weights."""
    epochs: int = 0
    seconds: float = 0.0
    """Wall-clock, over all attempts at this trial."""
    cpu_seconds: float = 0.0
    """Of the attempt that ended it."""
    ended_seconds: float | None = None
    """Wall-clock seconds of searching when it ended; None where its ledger does not say."""
    message: str = ""
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    """One entry an epoch: number, loss, score, seconds."""

    def result(self, sign: int) -> Result:
        """As strategies see it; `sign` is −1 where the metric is minimised.

        Raises:
            ValueError: the trial has not ended.
        """
        if self.status == "running":
            raise ValueError(f"trial {self.trial_id} has not ended")
        score = None if self.score is None else sign * self.score
        seen: dict[TrialStatus, Status] = {"completed": "completed", "failed": "failed"}
        seen["same"] = "failed" if score is None else "completed"
        return Result(
            trial_id=self.trial_id,
            values=self.values,
            status=seen.get(self.status, "infeasible"),
            score=score,
            epochs=self.epochs,
            granted=self.control.get("tuner/epochs"),
            curve=tuple(sign * entry["score"] for entry in self.history if entry.get("score") is not None),
            same_as=self.same_as,
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """The end of the search for architectures, where second looks follow."""

    reason: EndReason
    finalists: int
    """Places among those that are looked at again."""
    looks: int
    """Trainings more of each."""


@dataclasses.dataclass(slots=True, kw_only=True)
class Prepared:
    """What a strategy had prepared, as far as the ledger tells."""

    started: bool = False
    ended: bool = False
    limit: float | None = None
    """Seconds that it may take; None: as many as it needs."""
    seconds: float = 0.0
    """Wall-clock, over all attempts."""
    cpu_seconds: float = 0.0
    """Of the attempt that ended it."""
    epochs: int = 0
    deaths: int = 0
    """Worker processes that ended while they ran it."""
    stalled: int = 0
    """Times that it was started since it last got through an epoch."""
    content: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What came out."""
