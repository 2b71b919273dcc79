"""A canary's requests, counted: from its server's own metrics and from the golden rows that we send.

Read of the server's ``/metrics`` (`nasflow.serving.metrics`): the counters ``nasflow_requests_total{code}``,
``nasflow_predictions_total{outcome}`` and ``nasflow_confidence_total{bin}``, and the histogram
``nasflow_request_seconds``. What users' rows are predicted as is compared with what the version that serves said in
the same time: both get a random share of the same requests, so a difference is the model's. So are requests that the
canary refuses (400, 422) and the version that serves does not: a model with other columns answers its own golden rows.
Requests whose client went away (499) say nothing about a model and are left out.

A canary's processes began with the canary, so their counters are its whole life, also after this watcher was
interrupted. Each scrape may meet another of several pods: what was last seen of each process is kept, told apart by its
start time.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping

from nasflow.deploy.spec import DeploySpec

QUANTILE = 0.95
LEAST_ROWS = 200
"""Predicted rows, of the canary and of the version that serves, below which their distributions are not compared."""

_REFUSED = ("400", "422")
_GONE = "499"
_PREDICTED = {"nasflow_predictions_total": "outcome", "nasflow_confidence_total": "bin"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """One process's counters."""

    requests: float
    failures: float
    refused: float
    """Whose rows do not fit the model's signature."""
    buckets: Mapping[float, float]
    """Requests that took at most so many seconds, by the bound."""
    predicted: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    """Users' rows (no probes): by metric, by outcome or bin of confidence."""


class Watch:
    """What is known of a canary."""

    def __init__(self) -> None:
        self._processes: dict[float, Scrape] = {}
        self._stable: dict[float, tuple[Scrape, Scrape]] = {}
        self._probes: list[float] = []
        self._lost = 0
        self._failed = 0

    def answered(self, seconds: float) -> None:
        """A golden request was answered."""
        self._probes.append(seconds)

    def failed(self, *, reached: bool) -> None:
        """A golden request was not answered well; `reached` where the server itself has counted it."""
        self._failed += 1
        self._lost += not reached

    def scrape(self, text: str) -> None:
        """Takes a metrics page; one without our counters changes nothing."""
        found = parse(text)
        if found is not None:
            process, sample = found
            self._processes[process] = sample

    def scrape_stable(self, text: str) -> None:
        """Takes a metrics page of the version that serves: what it has counted from its first page on."""
        found = parse(text)
        if found is not None:
            process, sample = found
            first, _ = self._stable.get(process, (sample, sample))
            self._stable[process] = (first, sample)

    @property
    def refused(self) -> tuple[float, float] | None:
        """Shares of requests that the canary refuses, and the version that serves beside it, where they are told apart
        by more than chance (three standard errors of the difference); None where they are not, or nobody serves."""
        n, bad = self.requests, sum(sample.refused for sample in self._processes.values())
        m = sum(last.requests - first.requests for first, last in self._stable.values())
        before = sum(last.refused - first.refused for first, last in self._stable.values())
        if not n or not m:
            return None
        together = (bad + before) / (n + m)
        error = math.sqrt(together * (1 - together) * (1 / n + 1 / m))
        return (bad / n, before / m) if bad / n - before / m > 3 * error else None

    @property
    def drift(self) -> float:
        """How far the canary's predictions are from the stable version's: the population stability index, the larger
        one of outcomes and confidence, less what chance alone makes of so few rows. NaN below `LEAST_ROWS` of either.
        """
        canary = _merged(sample.predicted for sample in self._processes.values())
        stable = _merged(last.predicted for _, last in self._stable.values())
        before = _merged(first.predicted for first, _ in self._stable.values())
        worst = math.nan
        for metric, counts in canary.items():
            reference = {key: n - before.get(metric, {}).get(key, 0.0) for key, n in stable.get(metric, {}).items()}
            if min(sum(counts.values()), sum(reference.values())) >= LEAST_ROWS:
                index = stability_index(counts, reference)
                worst = index if math.isnan(worst) else max(worst, index)
        return worst

    @property
    def requests(self) -> float:
        """Requests so far: the server's count and what never reached it; without its metrics, the golden requests."""
        if self._processes:
            return sum(sample.requests for sample in self._processes.values()) + self._lost
        return len(self._probes) + self._failed

    @property
    def failures(self) -> float:
        """How many of them failed."""
        if self._processes:
            return sum(sample.failures for sample in self._processes.values()) + self._lost
        return self._failed

    @property
    def latency_ms(self) -> float:
        """The 95th percentile; NaN without any answer."""
        if not self._processes:
            ordered = sorted(self._probes)
            return ordered[math.ceil(QUANTILE * len(ordered)) - 1] * 1000 if ordered else math.nan
        merged: dict[float, float] = {}
        for sample in self._processes.values():
            for bound, count in sample.buckets.items():
                merged[bound] = merged.get(bound, 0.0) + count
        return quantile(merged, QUANTILE) * 1000

    def problem(self, spec: DeploySpec) -> str:
        """Why the canary must not be promoted; empty where nothing speaks against it, or too little is known."""
        if self.requests < spec.min_requests:
            return ""
        rate = self.failures / self.requests
        if rate > spec.max_error_rate:
            return (
                f"{self.failures:.0f} of {self.requests:.0f} requests failed ({rate:.1%} > deploy.max_error_rate "
                f"{spec.max_error_rate:.1%})"
            )
        if (refused := self.refused) is not None and refused[0] - refused[1] > spec.max_error_rate:
            return (
                f"it refuses {refused[0]:.1%} of the requests, the one that serves {refused[1]:.1%} of the same ones "
                f"(HTTP 400 and 422; deploy.max_error_rate {spec.max_error_rate:.1%}): does it take other columns?"
            )
        if spec.max_latency_ms is not None and self.latency_ms > spec.max_latency_ms:
            return f"95 % of requests within {self.latency_ms:.0f} ms > deploy.max_latency_ms {spec.max_latency_ms:g}"
        if spec.max_prediction_drift is not None and self.drift > spec.max_prediction_drift:
            return (
                f"its predictions of users' rows are distributed otherwise than those of the version that serves: "
                f"stability index {self.drift:.2f} > deploy.max_prediction_drift {spec.max_prediction_drift:g}"
            )
        return ""

    def __str__(self) -> str:
        drift = "" if math.isnan(self.drift) else f", prediction drift {self.drift:.2f}"
        return f"{self.requests:.0f} requests, {self.failures:.0f} failed, p95 {self.latency_ms:.0f} ms{drift}"


def stability_index(counts: Mapping[str, float], reference: Mapping[str, float]) -> float:
    """The population stability index, Σ (p − q) ln(p / q), of two counted distributions, at least 0.

    Half a row is added to each cell, so that an empty one does not make it infinite; what two samples of one
    distribution give on average, (cells − 1)(1 / n + 1 / m), is taken off. Below 0.1 is usually called stable, above
    0.25 shifted.

    >>> stability_index({"a": 500, "b": 500}, {"a": 500, "b": 500})
    0.0
    >>> round(stability_index({"a": 100_000, "b": 300_000}, {"a": 200_000, "b": 200_000}), 3)  # 0.25 · ln 3
    0.275
    """
    cells = sorted(counts.keys() | reference.keys())
    n, m = sum(counts.values()), sum(reference.values())
    total = 0.0
    for cell in cells:
        p = (counts.get(cell, 0.0) + 0.5) / (n + len(cells) / 2)
        q = (reference.get(cell, 0.0) + 0.5) / (m + len(cells) / 2)
        total += (p - q) * math.log(p / q)
    return max(0.0, total - (len(cells) - 1) * (1 / n + 1 / m))


def _merged(pages: Iterable[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    merged: dict[str, dict[str, float]] = {}
    for page in pages:
        for metric, counts in page.items():
            into = merged.setdefault(metric, {})
            for key, count in counts.items():
                into[key] = into.get(key, 0.0) + count
    return merged


def quantile(buckets: Mapping[float, float], q: float) -> float:
    """As PromQL's ``histogram_quantile``: linear inside a bucket; in the last, its lower bound. NaN when empty.

    >>> quantile({0.1: 90.0, 0.2: 100.0, math.inf: 100.0}, 0.95)
    0.15
    """
    ordered = sorted(buckets.items())
    total = ordered[-1][1] if ordered else 0.0
    if not total:
        return math.nan
    lower, below = 0.0, 0.0
    for bound, count in ordered:
        if count >= q * total:
            if math.isinf(bound):
                return lower
            return round(lower + (bound - lower) * (q * total - below) / (count - below), 12)
        lower, below = bound, count
    return lower


def parse(text: str) -> tuple[float, Scrape] | None:
    """(start of the process, its counters), or None where the page has none of ours."""
    from prometheus_client.parser import text_string_to_metric_families

    started, requests, failures, refused, seen = 0.0, 0.0, 0.0, 0.0, False
    buckets: dict[float, float] = {}
    predicted: dict[str, dict[str, float]] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "process_start_time_seconds":
                    started = sample.value
                elif sample.name == "nasflow_requests_total":
                    seen, code = True, sample.labels.get("code", "")
                    requests += sample.value if code != _GONE else 0.0
                    failures += sample.value if code.startswith("5") else 0.0
                    refused += sample.value if code in _REFUSED else 0.0
                elif sample.name in _PREDICTED:
                    predicted.setdefault(sample.name, {})[sample.labels[_PREDICTED[sample.name]]] = sample.value
                elif sample.name == "nasflow_request_seconds_bucket":
                    bound = float(sample.labels["le"])
                    buckets[bound] = buckets.get(bound, 0.0) + sample.value
    except ValueError:  # not a metrics page
        return None
    if not seen:
        return None
    return started, Scrape(requests=requests, failures=failures, refused=refused, buckets=buckets, predicted=predicted)
