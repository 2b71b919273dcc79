"""What second looks saw, and how they compare: for `nasflow.search.selection`, the report and `nasflow trials`."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence

from nasflow.search.record import Record


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """A finalist's trainings, its trial's own first."""

    scores: tuple[float, ...]
    """Of those that came to their end: the trial's, then its looks'."""
    failed: int = 0
    """Looks without a score."""
    compared: int = 0
    """How many of `scores`, the first ones, make up `mean`: as many as every finalist has that none failed of."""
    mean: float | None = None
    """None: a look failed, or none came to its end. Then its own score is all there is, and it is ordered behind those
    that have a mean."""

    @property
    def spread(self) -> float | None:
        """Sample standard deviation of all scores; None of one."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else None


def looked_at(records: Sequence[Record]) -> Mapping[str, Looked]:
    """By trial, in the order in which they were first looked at. Looks that run, or that the end of the budget cut off,
    say nothing.

    Means are over as many scores for one as for the other: the trial's own score was chosen for being high, and weighs
    more in a mean of two than in a mean of three. So a look that has no counterpart elsewhere does not count.
    """
    known = {record.trial_id: record for record in records}
    looks: dict[str, list[Record]] = {}
    for record in records:
        if record.look_of is not None:
            looks.setdefault(record.look_of, []).append(record)
    found: dict[str, Looked] = {}
    for trial_id, mine in looks.items():
        own = known[trial_id].score
        ended = sorted((r for r in mine if r.status == "completed" and not r.message), key=lambda record: record.look)
        scores = [record.score for record in ended if record.score is not None]
        failed = sum(record.status == "failed" for record in mine)
        found[trial_id] = Looked(scores=(*(() if own is None else (own,)), *scores), failed=failed)
    counts = [len(each.scores) for each in found.values() if not each.failed and len(each.scores) > 1]
    compared = min(counts, default=0)
    return {
        trial_id: dataclasses.replace(each, compared=compared, mean=statistics.fmean(each.scores[:compared]))
        if not each.failed and len(each.scores) > 1
        else each
        for trial_id, each in found.items()
    }
