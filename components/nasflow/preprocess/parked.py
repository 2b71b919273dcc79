"""Fingerprints are most of what the analysis of a part finds, 20 bytes a row. They wait in the work dir and not between
the stages of a pipeline, where all of them would be in memory at once; they are merged one part after another.
"""

import struct
from collections.abc import Iterable, Mapping
from typing import cast

import numpy as np

from nasflow.core.storage import join, storage_for
from nasflow.preprocess.fingerprints import Fingerprints
from nasflow.preprocess.sources._base import Role

_HEAD = struct.Struct("<QQ")
_TYPES = ("<u8", "<i8", "<u4")


def park(found: Mapping[Role, Fingerprints], folder: str, number: int) -> tuple[str, ...]:
    """Writes those of a part below `folder`, the same bytes under the same names every time; returns the names."""
    names = []
    for role, prints in found.items():
        prints.compact()
        if len(prints.rows):
            names.append(join(folder, f"{number:05d}-{role}"))
            head = _HEAD.pack(prints.shift, len(prints.rows))
            rows, counts, labels = _TYPES
            data = [prints.rows.astype(rows), prints.counts.astype(counts), prints.labels.astype(labels)]
            storage_for(folder).write(names[-1], b"".join([head, *(column.tobytes() for column in data)]))
    return tuple(names)


def collect(names: Iterable[str]) -> dict[Role, Fingerprints]:
    """All parts' together, in the order of their names."""
    found: dict[Role, Fingerprints] = {"train": Fingerprints(), "test": Fingerprints()}
    for name in names:
        data = storage_for(name).read(name)
        shift, count = _HEAD.unpack_from(data)
        columns, start = [], _HEAD.size
        for kind in map(np.dtype, _TYPES):
            columns.append(np.frombuffer(data, kind, count, start))
            start += count * kind.itemsize
        part = Fingerprints(shift=shift, rows=columns[0], counts=columns[1], labels=columns[2])
        found[cast("Role", name.rpartition("-")[2])].merge(part)
    return found


def remove(names: Iterable[str]) -> None:
    """Once they are counted."""
    for name in names:
        storage_for(name).delete(name)
