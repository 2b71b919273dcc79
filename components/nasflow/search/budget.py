"""When a search ends."""

import bisect
import dataclasses
import time
from collections.abc import Callable

from nasflow.core.spec import BudgetSection
from nasflow.search.ledger import Ledger
from nasflow.search.record import EndReason

_LEAST_EPOCHS, _MOST_EPOCHS = 10, 40
_ROWS_SEEN = 20_000


def epochs_of(section: BudgetSection, *, rows: int) -> int:
    """Epochs of a trial: the user's or, where left out, 10, and as many more (40 at most) as show a small training
    split to the network 20,000 times in all: ten epochs of 300 rows would end before it has learned anything.

    >>> [epochs_of(BudgetSection(), rows=rows) for rows in (60_000, 1_000, 100)]
    [10, 20, 40]
    """
    if section.epochs is not None:
        return section.epochs
    return max(_LEAST_EPOCHS, min(_MOST_EPOCHS, round(_ROWS_SEEN / rows)))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is kept of a budget for what comes later."""

    trials: int = 0
    seconds: float = 0.0
    """Of wall-clock."""
    device_seconds: float = 0.0


NOTHING = Kept()


@dataclasses.dataclass(slots=True)
class Budget:
    """Trials and wall-clock, over all attempts at the study."""

    section: BudgetSection
    epochs: int
    """Of one trial."""
    ledger: Ledger
    clock: Callable[[], float] = time.monotonic
    unrecorded: Callable[[], float] = float
    """Seconds that running trials have spent and the ledger does not know of yet."""
    _started: float = dataclasses.field(init=False)
    _earlier: float = dataclasses.field(init=False)
    _read: int = dataclasses.field(init=False, default=0)
    _epochs: list[float] = dataclasses.field(init=False, default_factory=list)
    """Seconds of an epoch of each trial that completed, ascending; of the first `_read` that ended."""

    def __post_init__(self) -> None:
        """Counts from now, and from what earlier attempts have spent."""
        self._started = self.clock()
        self._earlier = self.ledger.elapsed

    @property
    def elapsed(self) -> float:
        """Wall-clock seconds of searching, over all attempts."""
        return self._earlier + self.clock() - self._started

    @property
    def seconds_left(self) -> float | None:
        """Of wall-clock; None: no limit."""
        return None if self.seconds is None else self.seconds - self.elapsed

    @property
    def seconds(self) -> float | None:
        """Of wall-clock, in all; None: no limit."""
        return None if self.section.hours is None else self.section.hours * 3600

    @property
    def device_seconds(self) -> float | None:
        """Of trials, on all workers together, in all; None: no limit."""
        limits = [self.section.device_hours]
        if self.section.money is not None and self.section.price_per_device_hour is not None:
            limits.append(self.section.money / self.section.price_per_device_hour)
        hours = min((limit for limit in limits if limit is not None), default=None)
        return None if hours is None else hours * 3600

    @property
    def device_seconds_left(self) -> float | None:
        """As `device_seconds`."""
        limit = self.device_seconds
        return None if limit is None else limit - self.ledger.seconds - self.unrecorded()

    def part(self, share: float) -> float | None:
        """Seconds that something beside the trials may take: `share` of the tightest limit of time or money, and no
        more than half of what is left of it; None: there is no such limit."""
        limits = [share * limit for limit in (self.seconds, self.device_seconds) if limit is not None]
        limits += [max(0.0, left) / 2 for left in (self.seconds_left, self.device_seconds_left) if left is not None]
        return min(limits, default=None)

    @property
    def spent(self) -> float | None:
        """Money, where there is a price."""
        price = self.section.price_per_device_hour
        return None if price is None else price * self.ledger.seconds / 3600

    @property
    def trials_left(self) -> int | None:
        """None: no limit."""
        return None if self.section.trials is None else self.section.trials - self.ledger.trained

    def ended(self, kept: Kept = NOTHING) -> EndReason | None:
        """Why no further trial may start, where `kept` is not to be touched; None: it may.

        The last minutes are not spent on a trial that could not get through half of its epochs: with a schedule that
        anneals at the end, its score would say nothing. The first trial may always start.
        """
        if self.trials_left is not None and self.trials_left <= kept.trials:
            return "trials"
        if not self.ledger.trained:
            return None
        device: EndReason = "device_hours" if self.section.money is None else "money"
        limits: list[tuple[EndReason, float | None, float]] = [("hours", self.seconds_left, kept.seconds)]
        limits.append((device, self.device_seconds_left, kept.device_seconds))
        for reason, left, later in limits:
            if left is not None and (left <= later or left - later < self._usual_epoch() * self.epochs / 2):
                return reason
        return None

    def has_time_for(self, seconds: float) -> bool:
        """Whether something that takes so long ends before the deadline, and within what the devices may cost."""
        return all(left is None or left >= seconds for left in (self.seconds_left, self.device_seconds_left))

    def _usual_epoch(self) -> float:
        """Seconds: the median over the trials that completed; 0 where none has."""
        for record in self.ledger.ended[self._read :]:
            if record.status == "completed" and record.epochs:
                bisect.insort(self._epochs, record.seconds / record.epochs)
        self._read = len(self.ledger.ended)
        return self._epochs[len(self._epochs) // 2] if self._epochs else 0.0
