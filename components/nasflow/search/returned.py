"""What a study may return: size and latency of the export that will be served, measured before anything is returned.

Both depend on the architecture, not on its weights, so the export is made of an untrained model. Candidates are
measured in their order until enough are within the limits; none that was not measured, or that breaks one, is returned.
"""

import dataclasses
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from nasflow.core.artifacts import Dataset
from nasflow.core.errors import UserError
from nasflow.core.spec import ConstraintsSection
from nasflow.data.golden import read_golden
from nasflow.data.reader import read_schema, read_transform
from nasflow.search.record import Record
from nasflow.search.study import Study

logger = logging.getLogger(__name__)

MEASURED = ("size_mb", "latency_ms")
_ENOUGH = 5
_MOST = 20


@dataclasses.dataclass(frozen=True, slots=True)
class Returned:
    """Records that may be returned, with what was measured of them by trial."""

    records: tuple[Record, ...]
    measured: dict[str, dict[str, float]]
    dropped: tuple[str, ...] = ()
    """Why others were not."""


def within(order: Sequence[Record], study: Study, constraints: ConstraintsSection, dataset: Dataset) -> Returned:
    """The first of `order` that keep to ``size_mb`` and ``latency_ms``, 5 at most; all of them where there are no such
    limits, and nothing is measured.

    Raises:
        UserError: none of the first 20 does.
    """
    limits = {name: getattr(constraints, name) for name in MEASURED if getattr(constraints, name) is not None}
    if not limits or not order:
        return Returned(tuple(order), {})
    kept: list[Record] = []
    measured: dict[str, dict[str, float]] = {}
    dropped: list[str] = []
    for record in order[:_MOST]:
        found = measure(record, study, dataset)
        broken = [name for name, limit in limits.items() if found[name] > limit]
        if broken:
            told = "; ".join(f"{name} {found[name]:.4g} > constraints.{name} {limits[name]:g}" for name in broken)
            dropped.append(f"trial {record.trial_id}: {told}")
            logger.info("search: not returned: %s", dropped[-1])
            continue
        kept.append(record)
        measured[record.trial_id] = found
        if len(kept) == _ENOUGH:
            break
    if not kept:
        raise UserError(
            f"search: none of the best {len(dropped)} candidates keeps to the limits when its export is measured: "
            f"{dropped[0]}. Raise {' or '.join(f'constraints.{name}' for name in limits)}, or lower constraints.flops "
            "so that smaller networks are searched"
        )
    return Returned(tuple(kept), measured, tuple(dropped))


def measure(record: Record, study: Study, dataset: Dataset) -> dict[str, float]:
    """``size_mb`` and ``latency_ms`` of a record's export."""
    import keras

    from nasflow.models import latency
    from nasflow.models.build import build
    from nasflow.models.export import export

    schema, golden = read_schema(dataset), read_golden(dataset)
    model = build(study.space.architecture(record.values), study.inputs, study.output, seed=study.seed)
    with tempfile.TemporaryDirectory(prefix="nasflow-measured-") as folder:
        export(model, Path(folder), schema=schema, transform=read_transform(dataset), golden=golden)
        found = {
            "size_mb": latency.size_mb(Path(folder)),
            "latency_ms": latency.of_export(Path(folder), schema=schema, golden=golden),
        }
    keras.utils.clear_session(free_memory=False)
    return found
