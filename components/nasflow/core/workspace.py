"""A step's place under ``work_dir``, and the rule that finished work is never done twice.

The place is named by a digest of all that the step depends on: nasflow's version, the step's spec, its input documents
and, for raw data, the files' fingerprints. The same command therefore finds its earlier work, whole or in part.
"""

import dataclasses
import logging
import resource
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from nasflow.core.artifacts import Document
from nasflow.core.storage import absolute, join, sha256, storage_for
from nasflow.core.version import VERSION

logger = logging.getLogger(__name__)

D = TypeVar("D", bound=Document)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one step keeps what it must find again after a crash."""

    uri: str

    def at(self, *parts: str) -> str:
        """A URI below the place."""
        return join(self.uri, *parts)


def step_key(step: str, *, spec: BaseModel, inputs: Mapping[str, Document], sources: Mapping[str, str]) -> str:
    """Sixteen hex digits that change when anything changes that the step depends on."""
    parts = [VERSION, step, spec.model_dump_json(), str({k: v.digest for k, v in sorted(inputs.items())})]
    return sha256("\n".join([*parts, str(sorted(sources.items()))]).encode())[:16]


def run_once(
    step: str,
    kind: type[D],
    produce: Callable[[Place], tuple[D, Mapping[str, bytes]]],
    *,
    spec: BaseModel,
    inputs: Mapping[str, Document],
    work_dir: str,
    output: str,
    sources: Mapping[str, str] | None = None,
) -> D:
    """Returns the step's document: the finished one if there is one, else what `produce` makes; also put at `output`.

    `produce(place)` returns the document and its small files; it may leave unfinished work below ``place`` and find it
    there when the step is run again. Only one process at a time works in a local place: a second one waits, then finds
    the finished document.
    """
    key = step_key(step, spec=spec, inputs=inputs, sources=sources or {})
    place = Place(uri=join(absolute(work_dir), step, key))
    storage = storage_for(place.uri)
    with storage.lock(place.at(".lock")):
        if kind.exists(place.uri):
            document = kind.read(place.uri)
            logger.info("%s: reused %s", step, place.uri, extra={"step": step, "reused": True})
        else:
            started, cpu_started = time.monotonic(), cpu_seconds()
            made, files = produce(place)
            cost: dict[str, Any] = {
                "seconds": round(time.monotonic() - started, 3),
                "cpu_seconds": round(cpu_seconds() - cpu_started, 3),
                "inputs": {name: document.digest for name, document in inputs.items()},
            }
            document = made.model_copy(update=cost).publish(place.uri, files)
    return document.copy_to(output) if absolute(output) != place.uri else document


def cpu_seconds() -> float:
    """User and system seconds of this process and its finished children."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
