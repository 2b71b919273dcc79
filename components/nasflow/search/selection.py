"""Which trial a study returns: the best on validation, unless its lead over a preset is noise.

The best of many is optimistic, and a preset's recipe was tried on more data than this. Measured (research/auto.md):
following differences smaller than the validation split can tell made the result worse than the preset.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from nasflow.core.metrics import gain, maximised
from nasflow.core.spec import Metric, Objective, is_custom
from nasflow.search import pareto
from nasflow.search.looked import Looked, looked_at
from nasflow.search.objectives import oriented
from nasflow.search.record import Record


@dataclasses.dataclass(frozen=True, slots=True)
class Selection:
    """Records best first, one an architecture, and why the first one is first."""

    order: tuple[Record, ...]
    reason: str
    looks: Mapping[str, Looked] = dataclasses.field(default_factory=dict)
    """By trial: what second looks saw; empty where there were none."""

    def score(self, record: Record) -> float | None:
        """What it was ranked by: the mean over its looks, or its own score."""
        looked = self.looks.get(record.trial_id)
        return record.score if looked is None or looked.mean is None else looked.mean


@dataclasses.dataclass(frozen=True, slots=True)
class Front:
    """Of a Pareto search."""

    trial_ids: tuple[str, ...]
    hypervolume: float


def select(records: Sequence[Record], metric: Metric, *, validation_rows: int, epochs: int) -> Selection:
    """Orders the completed trials.

    By score, then fewer parameters, then earlier; those that second looks were taken at before the others, by the mean
    (`nasflow.search.looked`). Then the best preset goes first, unless the leader is better by at least one standard
    error *and* was trained for at least half of `epochs`. A mean over seeds is held against the same standard error:
    they were all judged on the same rows.
    """
    completed = [r for r in records if r.status == "completed" and r.score is not None and r.look_of is None]
    looks = looked_at(records)
    found = Selection((), "no trial completed", looks)
    first = sorted(completed, key=lambda record: _order(record, record.score, metric))
    order = _one_an_architecture(first)
    if not order:
        return found
    order.sort(key=lambda record: (not _compared(looks, record), _order(record, found.score(record), metric)))
    told = _told(looks)
    preset = next((record for record in order if record.origin == "preset"), None)
    control = None if preset is None else found.score(preset)
    if preset is None or control is None:
        return Selection(tuple(order), f"best on validation{told}; no preset completed", looks)
    leader = next((r for r in order if r.origin == "preset" or 2 * r.epochs >= epochs), order[0])
    score = found.score(leader)
    if score is None or leader is preset or leader.origin == "preset":
        return Selection(_first(preset, order), f"a preset is the best on validation{told}", looks)
    error = standard_error(metric, control, validation_rows)
    lead = gain(metric, score, control)
    compared = (
        f"trial {leader.trial_id} has {metric} {score:.4f}{told}, the best preset (trial {preset.trial_id}) "
        f"{control:.4f}: {lead:.4f} better, with a standard error of {error:.4f} on {validation_rows:,} rows"
    )
    if lead < error:
        return Selection(_first(preset, order), f"{compared}: a tie, which goes to the preset", looks)
    return Selection(_first(leader, order), f"{compared}: a real lead", looks)


def select_by_proxy(records: Sequence[Record], proxy: str) -> Selection:
    """Orders what was never trained: by the proxy, then fewer parameters, then earlier. A preset gets no advantage:
    there is no standard error that a lead could be held against."""
    completed = [record for record in records if record.status == "completed" and record.score is not None]
    order = _one_an_architecture(sorted(completed, key=lambda r: (-(r.score or 0.0), r.parameters)))
    told = f"the highest {proxy} of {len(order)} untrained networks; no accuracy was measured"
    return Selection(tuple(order), told if order else "no network could be scored")


def select_front(records: Sequence[Record], objectives: Sequence[Objective]) -> tuple[Selection, Front]:
    """Orders the completed trials of a Pareto search: the knee of the first front, the rest of it by what it gives up
    least, then the other fronts (Deb et al. 2002, by front and crowding). One trial an architecture, the longest."""
    known = [record for record in records if record.status == "completed" and record.score is not None]
    completed = _one_an_architecture(known)
    if not completed:
        return Selection((), "no trial completed"), Front((), 0.0)
    points = np.array([oriented(record, objectives) for record in completed])
    ranked = pareto.ranks(points)
    first = np.flatnonzero(pareto.fronts(points) == 0)
    chosen = int(first[pareto.knee(points[first])])
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    scaled = (points - low) / np.where(high > low, high - low, 1.0)
    rest = sorted((place for place in range(len(completed)) if place != chosen), key=lambda place: -ranked[place])
    order = tuple(completed[place] for place in (chosen, *rest))
    ids = tuple(record.trial_id for record in order if record in [completed[place] for place in first])
    values = ", ".join(f"{name} {abs(value):.4g}" for name, value in zip(objectives, points[chosen], strict=True))
    reason = (
        f"trial {completed[chosen].trial_id} is the knee of a front of {len(first)}: {values}; farthest beyond the "
        "plane through the front's extremes"
    )
    return Selection(order, reason), Front(ids, pareto.hypervolume(scaled, np.full(points.shape[1], -1e-9)))


def standard_error(metric: Metric, score: float, rows: int) -> float:
    """Roughly, of a metric measured on so many rows; 0 rows: infinite.

    accuracy: √(p(1−p)/n), exact; the other metrics between 0 and 1: the same, as an order of magnitude. rmse, mae: for
    normal errors, rmse/√(2n) and 0.756·mae/√n; mse: mse·√(2/n). log_loss: for exponentially distributed losses,
    log_loss/√n. r2: (1−r²)·√(2/n). A function of the user's: 0, nothing is known of it.

    >>> round(standard_error("accuracy", 0.9, 100), 3), round(standard_error("rmse", 10.0, 50), 3)
    (0.03, 1.0)
    """
    if is_custom(metric):
        return 0.0
    return _ERRORS.get(metric, _proportion)(score, rows) if rows else math.inf


def _proportion(score: float, rows: int) -> float:
    inside = min(max(score, 0.5 / rows), 1 - 0.5 / rows)  # a perfect score on few rows is not a certain one
    return math.sqrt(inside * (1 - inside) / rows)


_ERRORS: Mapping[Metric, Callable[[float, int], float]] = MappingProxyType(
    {
        "log_loss": lambda score, rows: score / math.sqrt(rows),
        "rmse": lambda score, rows: score / math.sqrt(2 * rows),
        "mse": lambda score, rows: score * math.sqrt(2 / rows),
        "mae": lambda score, rows: 0.756 * score / math.sqrt(rows),
        "r2": lambda score, rows: (1 - score) * math.sqrt(2 / rows),
    }
)


def _order(record: Record, score: float | None, metric: Metric) -> tuple[float, int]:
    score = math.nan if score is None else score
    return (-score if maximised(metric) else score, record.parameters)


def _compared(looks: Mapping[str, Looked], record: Record) -> bool:
    return record.trial_id in looks and looks[record.trial_id].mean is not None


def _told(looks: Mapping[str, Looked]) -> str:
    counts = [looked.compared for looked in looks.values() if looked.mean is not None]
    return f" (mean of {counts[0]} trainings)" if counts else ""


def _one_an_architecture(records: Sequence[Record]) -> list[Record]:
    """Hyperband and ASHA train a point several times, and two points can mean the same architecture: the one that was
    trained for the most epochs speaks for it; the best among equals. A short run's luck must not hide the whole one."""
    chosen: dict[str, Record] = {}
    for record in records:
        known = chosen.get(record.architecture_id)
        if known is None or record.epochs > known.epochs:
            chosen[record.architecture_id] = record
    return [record for record in records if chosen[record.architecture_id] is record]


def _first(chosen: Record, order: Sequence[Record]) -> tuple[Record, ...]:
    return (chosen, *(record for record in order if record is not chosen))
