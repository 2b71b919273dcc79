"""Drift and data quality: what has changed, whether it could be chance, and whether somebody should act.

Drift needs an index (PSI, how much) and a test (Kolmogorov–Smirnov at the bins' edges for numbers, which is
conservative; χ² of homogeneity for text and missing values), corrected for the number of columns by Holm's method: see
`nasflow.data.drift`. Quality has plain limits, with a test only where a share is compared with training.
"""

import dataclasses
import json
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nasflow.data import drift
from nasflow.data.drift import Drift
from nasflow.monitor.reference import Known, Reference
from nasflow.monitor.served import Column, Served

EXIT_DRIFT = 3


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """From when on something is an alert."""

    rows: int = 200
    """Fewer say nothing."""
    missing: float = 0.05
    """So much more of a column is missing than in training."""
    unseen: float = 0.02
    """Share of a text column's values that the model does not know."""
    out_of_range: float = 0.02
    """Share of a number's values outside the training rows' range."""
    refused: float = 0.02
    """Share of the requests."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One thing that somebody should look at."""

    kind: Literal["drift", "prediction_drift", "missing", "unseen", "out_of_range", "refused"]
    column: str
    text: str
    numbers: dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What `nasflow monitor` says."""

    alerts: tuple[Alert, ...]
    compared: tuple[Drift, ...]
    """Every feature, drifted or not."""
    predicted: tuple[Drift, ...]
    enough: bool
    """False: too few rows to tell; no alert then but `refused`."""

    @property
    def exit_code(self) -> int:
        """0: nothing to do; 3: look, or retrain."""
        return EXIT_DRIFT if self.alerts else 0

    @property
    def drifted(self) -> bool:
        """Whether features or predictions have moved: what retraining can help with."""
        return any(alert.kind in ("drift", "prediction_drift") for alert in self.alerts)


def judge(served: Served, limits: Limits | None = None) -> Verdict:
    """Compares; columns that no request had are left out."""
    limits = limits or Limits()
    reference = served.reference
    compared = [_compare(name, reference.columns[name], column) for name, column in sorted(served.columns.items())]
    predicted = [
        _compare(name, reference.predictions[name], column) for name, column in sorted(served.predictions.items())
    ]
    alerts = _refused(served, limits)
    enough = served.rows >= limits.rows
    if enough:
        alerts += [_drift("drift", f"Column {each.column!r} has", each) for each in drift.drifted(compared)]
        alerts += [
            _drift("prediction_drift", f"The predictions' {each.column} has", each) for each in drift.drifted(predicted)
        ]
        alerts += _quality(served, reference, limits)
    return Verdict(alerts=tuple(alerts), compared=tuple(compared), predicted=tuple(predicted), enough=enough)


def to_json(verdict: Verdict, served: Served) -> bytes:
    """For programs: ``monitor.json``."""
    content = {
        "model": served.reference.name,
        "version": served.reference.version,
        "from": served.first,
        "to": served.last,
        "requests": served.requests,
        "rows": served.rows,
        "refused": served.refused,
        "dropped": served.dropped,
        "left_out": dict(served.others),
        "enough_rows": verdict.enough,
        "drifted": verdict.drifted,
        "exit_code": verdict.exit_code,
        "alerts": [dataclasses.asdict(alert) for alert in verdict.alerts],
        "columns": [_numbers(each) for each in verdict.compared],
        "predictions": [_numbers(each) for each in verdict.predicted],
    }
    return json.dumps(content, indent=1).encode()


def _compare(name: str, known: Known, column: Column) -> Drift:
    first, second = known.counts, column.counts
    if known.bins.texts is None:
        missing = drift.homogeneity(_two(first), _two(second))
        if first[:-1].sum() and second[:-1].sum():
            statistic, p_value = _binned_ks(first[:-1], second[:-1])
            test, p_value = "Kolmogorov–Smirnov", min(1.0, 2 * min(p_value, missing[1]))  # Bonferroni: two tests
        else:
            test, (statistic, p_value) = "chi-square", missing
    else:
        test, (statistic, p_value) = "chi-square", drift.homogeneity(first, second)
    return Drift(
        column=name,
        psi=drift.psi(first, second),
        test=test,
        statistic=float(statistic),
        p_value=float(p_value),
        n=int(first.sum()),
        m=int(second.sum()),
    )


def _two(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Present and missing values."""
    return np.array([counts[:-1].sum(), counts[-1]])


def _binned_ks(first: NDArray[np.int64], second: NDArray[np.int64]) -> tuple[float, float]:
    """The largest difference of the distribution functions at the bins' edges: never more than that of the values, so
    that the p-value is too large rather than too small."""
    from scipy import special

    n, m = first.sum(), second.sum()
    statistic = float(np.abs(first.cumsum() / n - second.cumsum() / m).max())
    return statistic, float(special.kolmogorov(statistic * np.sqrt(n * m / (n + m))))


def _drift(kind: Literal["drift", "prediction_drift"], who: str, each: Drift) -> Alert:
    p = "< 1e-6" if each.p_value < 1e-6 else f"= {each.p_value:.2g}"
    text = (
        f"{who} drifted: population stability index {each.psi:.2f} ({each.test} p {p}; {each.n:,} rows then, "
        f"{each.m:,} served)."
    )
    return Alert(kind=kind, column=each.column or "", text=text, numbers=_numbers(each))


def _refused(served: Served, limits: Limits) -> list[Alert]:
    asked = served.requests + served.refused
    share = served.refused / asked if asked else 0.0
    if share <= limits.refused:
        return []
    reason, count = served.reasons.most_common(1)[0]
    text = f"{served.refused:,} of {asked:,} requests ({share:.1%}) were refused; most often ({count:,}): {reason}."
    return [Alert(kind="refused", column="", text=text, numbers={"share": share, "requests": asked})]


def _quality(served: Served, reference: Reference, limits: Limits) -> list[Alert]:
    alerts = []
    for name, column in sorted(served.columns.items()):
        known = reference.columns[name].counts
        before, now = float(known[-1] / max(1, known.sum())), column.missing / max(1, column.rows)
        chance = drift.homogeneity(_two(known), _two(column.counts))[1] * len(served.columns)  # Bonferroni
        if now - before > limits.missing and chance < drift.SIGNIFICANT:
            text = f"Column {name!r} is missing in {now:.1%} of the served rows; in training it was in {before:.1%}."
            alerts.append(Alert(kind="missing", column=name, text=text, numbers={"share": now, "before": before}))
        if (share := column.unseen / max(1, column.rows)) > limits.unseen:
            examples = ", ".join(repr(text) for text, _ in column.examples.most_common(3))
            text = f"Column {name!r} has texts that are new to the model in {share:.1%} of the rows: {examples}."
            alerts.append(Alert(kind="unseen", column=name, text=text, numbers={"share": share}))
        if (share := column.out_of_range / max(1, column.rows)) > limits.out_of_range:
            feature = reference.features[name]
            text = (
                f"Column {name!r} is outside {feature.low:g} to {feature.high:g}, the training rows' range, in "
                f"{share:.1%} of the served rows."
            )
            alerts.append(Alert(kind="out_of_range", column=name, text=text, numbers={"share": share}))
    return alerts


def _numbers(each: Drift) -> dict[str, Any]:
    found = dataclasses.asdict(each)
    return {**found, "psi": round(each.psi, 6), "statistic": round(each.statistic, 6)}
