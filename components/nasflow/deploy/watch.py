"""A canary's requests, counted: from its server's own metrics and from the golden rows that we send.

Read of the server's ``/metrics`` (`nasflow.serving.metrics`): the counter ``nasflow_requests_total{code}`` and the
histogram ``nasflow_request_seconds``. A canary's processes began with the canary, so their counters are its whole
life, also after this watcher was interrupted. Each scrape may meet another of several pods: what was last seen of each
process is kept, told apart by its start time.
"""

import dataclasses
import math
from collections.abc import Mapping

from nasflow.deploy.spec import DeploySpec

QUANTILE = 0.95


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """One process's counters."""

    requests: float
    failures: float
    buckets: Mapping[float, float]
    """Requests that took at most so many seconds, by the bound."""


class Watch:
    """What is known of a canary."""

    def __init__(self) -> None:
        self._processes: dict[float, Scrape] = {}
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
        if spec.max_latency_ms is not None and self.latency_ms > spec.max_latency_ms:
            return f"95 % of requests within {self.latency_ms:.0f} ms > deploy.max_latency_ms {spec.max_latency_ms:g}"
        return ""

    def __str__(self) -> str:
        return f"{self.requests:.0f} requests, {self.failures:.0f} failed, p95 {self.latency_ms:.0f} ms"


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

    started, requests, failures, seen = 0.0, 0.0, 0.0, False
    buckets: dict[float, float] = {}
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "process_start_time_seconds":
                    started = sample.value
                elif sample.name == "nasflow_requests_total":
                    seen = True
                    requests += sample.value
                    failures += sample.value if sample.labels.get("code", "").startswith("5") else 0.0
                elif sample.name == "nasflow_request_seconds_bucket":
                    bound = float(sample.labels["le"])
                    buckets[bound] = buckets.get(bound, 0.0) + sample.value
    except ValueError:  # not a metrics page
        return None
    return (started, Scrape(requests=requests, failures=failures, buckets=buckets)) if seen else None
