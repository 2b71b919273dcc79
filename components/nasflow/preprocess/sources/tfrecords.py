"""TFRecord files of ``tf.Example``, without TensorFlow.

Framing (tensorflow/core/lib/io/record_writer.h): uint64 length, masked CRC-32C of the length, data, masked CRC-32C of
the data, all little-endian. A damaged length ends the file's readable part and is an error; damaged data is one row.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from functools import lru_cache
from typing import IO, Any, Literal

import google_crc32c

from nasflow.core.errors import DataError
from nasflow.preprocess.dead_letters import DeadLetter
from nasflow.preprocess.sources._base import SAMPLE_ROWS, Piece, Profile, RowBatch
from nasflow.preprocess.sources.files import decompressed
from nasflow.preprocess.sources.records import Fields

DAMAGED = "damaged record (its checksum differs)"
NO_EXAMPLE = "not a tf.Example"
_BATCH_ROWS = 4096
_BATCH_BYTES = 16 << 20
_MASK = 0xA282EAD8


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TfRecords:
    """One or more files (``.tfrecord``, also ``.gz``). A feature with one value is a cell, an absent or empty one is
    missing; one with more values makes its column a list, which is not supported."""

    files: tuple[str, ...]
    fields: Fields
    form: str = "TFRecord"
    kind: Literal["table", "image"] = "table"
    text: bool = False

    @classmethod
    def of(cls, files: tuple[str, ...], label: str) -> "TfRecords":
        """Looks at the beginning of each file.

        Raises:
            DataError: a file has no tf.Example.
        """
        return cls(files=files, fields=Fields.infer((row for file in files for row in _beginning(file)), label))

    def pieces(self) -> list[Piece]:
        return [Piece(files=(file,)) for file in self.files]

    def profiles(self) -> Iterator[Profile]:
        for file in self.files:
            yield self.fields.profile(file, list(_beginning(file)))

    def read(self, piece: Piece) -> Iterator[RowBatch]:
        """Batches of at most `_BATCH_ROWS` rows and about `_BATCH_BYTES`."""
        (file,) = piece.files
        rows: list[dict[str, Any]] = []
        numbers: list[int] = []
        dead: list[DeadLetter] = []
        size = 0
        with decompressed(file) as handle:
            for number, data in _records(handle, file):
                row = DAMAGED if data is None else _parsed(data)
                if isinstance(row, str):
                    dead.append(DeadLetter.of(file=file, row=number, column="", value="", reason=row))
                else:
                    rows.append(row)
                    numbers.append(number)
                    size += len(data or b"")
                if len(rows) == _BATCH_ROWS or size > _BATCH_BYTES:
                    yield self.fields.batch(file, numbers, rows, dead)
                    rows, numbers, dead, size = [], [], [], 0
        if rows or dead:
            yield self.fields.batch(file, numbers, rows, dead)


def masked_crc(data: bytes) -> int:
    """TFRecord's checksum: CRC-32C, rotated and shifted, so that a checksum of checksums is none.

    >>> hex(masked_crc(b"123456789"))  # CRC-32C 0xe3069283: rotated right by 15 bits, plus 0xa282ead8
    '0xc78ab0e5'
    """
    crc = int(google_crc32c.value(data))
    return (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF


def _records(handle: IO[bytes], file: str) -> Iterator[tuple[int, bytes | None]]:
    """(number from 1, data); None for data whose checksum differs."""
    for number in itertools.count(1):
        head = handle.read(12)
        if not head:
            return
        if len(head) < 12 or masked_crc(head[:8]) != int.from_bytes(head[8:], "little"):
            what = "truncated" if len(head) < 12 else "no TFRecord, or damaged"
            raise DataError(f"{file}: {what} at record {number:,}; write it again, or take it out of data.train")
        length = int.from_bytes(head[:8], "little")
        body = handle.read(length + 4)
        if len(body) < length + 4:
            raise DataError(f"{file}: truncated at record {number:,}; write it again, or take it out of data.train")
        data = body[:-4]
        yield number, data if masked_crc(data) == int.from_bytes(body[-4:], "little") else None


def _parsed(data: bytes) -> dict[str, Any] | str:
    """Names and values of an Example, or why it is none."""
    from google.protobuf.message import DecodeError

    try:
        example = _example_class().FromString(data)
    except DecodeError:
        return NO_EXAMPLE
    row: dict[str, Any] = {}
    features = example.features.feature
    for name in sorted(features):  # a protobuf map has no order of its own
        feature = features[name]
        kind = feature.WhichOneof("kind")
        values: Any = getattr(feature, kind).value if kind else ()
        row[name] = values[0] if len(values) == 1 else list(values) if values else None
    return row or NO_EXAMPLE


def _beginning(file: str) -> Iterator[dict[str, Any]]:
    found, size = False, 0
    with decompressed(file) as handle:
        for _, data in itertools.islice(_records(handle, file), SAMPLE_ROWS):
            row = _parsed(data) if data is not None else DAMAGED
            if isinstance(row, dict):
                found = True
                yield row
            size += len(data or b"")
            if size > _BATCH_BYTES:
                break
    if not found:
        raise DataError(f"{file}: no tf.Example in it; name TFRecord files of tf.Example")


@lru_cache(maxsize=1)
def _example_class() -> Any:
    """The message class of tensorflow/core/example/example.proto, in a pool of its own beside TensorFlow's."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kind = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="nasflow_example.proto", package="nasflow", syntax="proto3")

    def message(name: str, parent: Any = file.message_type) -> Any:
        added = parent.add()
        added.name = name
        return added

    def field(owner: Any, name: str, number: int, of: int, label: int = kind.LABEL_OPTIONAL, **more: Any) -> None:
        owner.field.add(name=name, number=number, type=of, label=label, **more)

    lists = {"BytesList": kind.TYPE_BYTES, "FloatList": kind.TYPE_FLOAT, "Int64List": kind.TYPE_INT64}
    feature = message("Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, of) in enumerate(lists.items(), start=1):
        field(message(name), "value", 1, of, kind.LABEL_REPEATED)
        lower = name.removesuffix("List").lower() + "_list"
        field(feature, lower, number, kind.TYPE_MESSAGE, type_name=f".nasflow.{name}", oneof_index=0)
    features = message("Features")
    entry = message("FeatureEntry", features.nested_type)
    entry.options.map_entry = True
    field(entry, "key", 1, kind.TYPE_STRING)
    field(entry, "value", 2, kind.TYPE_MESSAGE, type_name=".nasflow.Feature")
    entry_name = ".nasflow.Features.FeatureEntry"
    field(features, "feature", 1, kind.TYPE_MESSAGE, kind.LABEL_REPEATED, type_name=entry_name)
    field(message("Example"), "features", 1, kind.TYPE_MESSAGE, type_name=".nasflow.Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("nasflow.Example"))
