"""Who runs trials for a search: this very process, or worker processes (`nasflow.search.pool`)."""

import dataclasses
from collections.abc import Callable
from typing import Protocol

from nasflow.search.job import Decide, Job, Outcome, Setup
from nasflow.search.shared import Data
from nasflow.search.trial import TrialRunner, quiet_and_frozen


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A worker is gone in the middle of a trial."""

    trial_id: str
    how: str
    """As in ``signal 9``, ``told to end by SIGTERM``."""
    blameless: bool
    """It was told to end (SIGTERM: a preemption), so the trial is not to blame."""


class Crew(Protocol):
    """Runs trials side by side."""

    size: int
    """How many at most."""

    def start(self, job: Job) -> None:
        """Takes a trial; only while fewer than `size` run."""

    def wait(self, decide: Decide) -> Outcome | Lost:
        """Until one of them has ended or is lost. `decide` is asked after each epoch of each of them.

        Raises:
            TryAgainError: stopped by a signal.
            UserError: a worker cannot work with what it was given.
        """

    def close(self) -> None:
        """Ends what still runs; nothing is lost but the epochs in hand."""


class Alone:
    """Trials run here, one after the other: no process to start, no tensors to share, and the debugger works."""

    size = 1

    def __init__(self, setup: Setup, data: Data) -> None:
        self._runner = TrialRunner(setup, data)
        self._job: Job | None = None
        self._quiet = quiet_and_frozen()
        self._quiet.__enter__()

    def start(self, job: Job) -> None:
        """See `Crew`."""
        self._job = job

    def wait(self, decide: Decide) -> Outcome | Lost:
        """See `Crew`."""
        if self._job is None:
            raise RuntimeError("no trial was started")  # a defect of ours: fail loudly
        job, self._job = self._job, None
        return self._runner.run(job, decide)

    def close(self) -> None:
        """See `Crew`."""
        self._quiet.__exit__(None, None, None)


class Relay:
    """One trial at a time: the first ones here, which costs no start of a process; from then on in processes that are
    replaced, because TensorFlow keeps some memory of every model that it has trained."""

    size = 1

    def __init__(self, first: Crew, then: Callable[[], Crew], *, after: int) -> None:
        """`after`: trials that `first` runs."""
        self._crew, self._then, self._left = first, then, after

    def start(self, job: Job) -> None:
        """See `Crew`."""
        if self._left == 0:
            self._crew.close()
            self._crew = self._then()
        self._left -= 1
        self._crew.start(job)

    def wait(self, decide: Decide) -> Outcome | Lost:
        """See `Crew`."""
        return self._crew.wait(decide)

    def close(self) -> None:
        """See `Crew`."""
        self._crew.close()
