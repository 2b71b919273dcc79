"""What the search and a worker tell each other, as JSON: whoever speaks it can be a worker, on this machine or another.

    worker → search   {"hello": {"index", "pid"}}
    search → worker   {"setup": Setup}                       what all trials share
    search → worker   {"job": Job}                           one trial
    worker → search   {"epoch": Report}                      after each epoch; it waits for the answer:
    search → worker   {"go_on": why not}                     empty: the trial goes on
    worker → search   {"beat": {}}                           every 5 s, also inside an epoch: it lives
    worker → search   {"leaving": why}                       it was told to end (a preemption), and does so
    worker → search   {"refused": why}                       it cannot work with the setup, and ends
    worker → search   {"hindered": why}                      nobody can work as things are (a full disk), and ends
    worker → search   {"ended": Outcome}                     then it waits for the next job, or
    search → worker   {"bye": {}}                            ends

The search alone decides, writes the ledger and knows the strategy. A worker keeps nothing but what lies below the
study's place (epoch backups, weights): killed at any moment, it costs the epoch in hand.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from pydantic import TypeAdapter

from nasflow.core.spec import Metric, RuntimeSection, ValidationSection
from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces.relaxed import Bilevel

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What all trials of a study share."""

    inputs: InputSpec
    output: OutputSpec
    metrics: tuple[Metric, ...]
    """What is measured; the first one is the score."""
    seed: int
    """Of every trial's first training: what differs between two trials is their design."""
    validation: ValidationSection
    """Folds and seeds."""
    runtime: RuntimeSection
    """XLA, precision."""
    latency: bool = False
    """Whether the latency of each trained network is measured, too."""
    patience: int | None = None
    """Of each training."""
    tensors_path: str | None = None
    """Folder of the decoded splits, mapped into memory; None: the worker has them already."""
    dataset_uri: str | None = None
    """The Dataset document, for a worker that cannot see `tensors_path`."""
    backups_path: str | None = None
    """Folder or ``gs://`` prefix where trainings keep their epochs; None: a killed trial starts again."""
    weights_path: str | None = None
    """Folder where the ends of trainings are kept for others to start from; None: nowhere."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Supernet:
    """What makes a job the training of a supernet (`nasflow.models.bilevel`), on the training split alone."""

    choices: dict[str, tuple[str, ...]]
    """The softmaxes of its `mixed` operations."""
    bilevel: Bilevel
    seconds: float | None
    """Of all attempts at it, about; None: no limit."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One trial to run."""

    trial_id: str
    architecture: dict[str, Any]
    """`Architecture.to_json`."""
    epochs: int
    horizon: int | None = None
    """See `nasflow.strategies._base.Suggestion`."""
    inherit: str | None = None
    """The trial to start from."""
    look: int = 0
    """Of a second look: which, from 1. Its trainings have seeds that neither the trial nor another look has."""
    supernet: Supernet | None = None
    """None: a trial."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One epoch of a trial."""

    trial_id: str
    run: int
    """Which of the trial's trainings, from 0."""
    number: int
    """Of the epoch, from 1."""
    loss: float | None
    score: float | None
    """None: not finite."""
    seconds: float
    """Of this epoch."""
    spent: float
    """Seconds of the whole trial so far, in this attempt."""
    probabilities: dict[str, list[float]] | None = None
    """Of a supernet's softmaxes, where they learned in this epoch."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a trial ended."""

    trial_id: str
    status: Literal["completed", "failed"]
    score: float | None = None
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    runs: list[float] = dataclasses.field(default_factory=list)
    epochs: int = 0
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    """Of the first training. Of a supernet also each epoch's probabilities."""
    seconds: float = 0.0
    """Wall-clock, of this attempt; the start of the process is not counted."""
    cpu_seconds: float = 0.0
    message: str = ""
    notes: list[str] = dataclasses.field(default_factory=list)
    memory_mb: float = 0.0
    """Resident memory of the process afterwards."""


Decide = Callable[[Report], str]
"""Why the trial shall end after this epoch; empty: it goes on."""


def dump(value: Any) -> Any:
    """A dataclass of this module as JSON values."""
    return TypeAdapter(type(value)).dump_python(value, mode="json")


def parse(kind: type[T], content: Any) -> T:
    """Inverse of `dump`.

    Raises:
        pydantic.ValidationError: it is something else; the two sides run different versions.
    """
    return TypeAdapter(kind).validate_python(content)
