"""What preprocess does, as one would write it by hand for this one table: pyarrow, NumPy, one process, two passes.

    python preprocess_plain.py SOURCE OUTPUT      # a folder of Parquet files, or one CSV file

It knows the table's columns and trusts them. Per row and column it does the same work as nasflow, with the same
results, which the benchmark compares: split by a hash of the row's content; of the training rows mean, deviation,
extremes, missing and a sample of the distinct values of every number, counts of every text; label counts of all splits;
exact duplicates and conflicting labels; z-scores, indicators and ids; shards with their sha256; the raw test rows.

It does not: infer types, look at the values for bad ones, keep dead letters, sample rows to look for drift, leaks and
histograms, write a report, run on another engine, or go on after a crash.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq
from preprocess_data import LABEL, NUMBERS, TEXTS

SPLITS = ("train", "validation", "test")
BATCH = 65_536
GROUP = 16_384
KEPT = 8_192
VOCABULARY, BUCKETS = 10_000, 1_024
GOLDEN, MIX_1, MIX_2 = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
NAN = np.uint64(0x7FF8000000000000)
TINY = np.finfo(np.float64).tiny
MASKS = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)
PRIME, BASE = 2**31 - 1, 1_103_515_245
POWERS = np.array([pow(BASE, place + 1, PRIME) for place in range(64)])


def mix(bits: Any) -> Any:
    bits = bits + GOLDEN
    bits ^= bits >> np.uint64(30)
    bits *= MIX_1
    bits ^= bits >> np.uint64(27)
    bits *= MIX_2
    bits ^= bits >> np.uint64(31)
    return bits


def salt(name: str) -> np.uint64:
    return np.frombuffer(hashlib.blake2b(name.encode(), digest_size=8).digest(), "<u8")[0]


def text_hashes(texts: pa.Array) -> Any:
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    data = np.append(np.frombuffer(texts.buffers()[2], np.uint8)[: offsets[-1]], np.zeros(8, np.uint8))
    words = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))
    sizes, hashes = np.diff(offsets), np.zeros(len(texts), np.uint64)
    for number in range(-(-int(sizes.max(initial=0)) // 8)):
        rows = np.flatnonzero(sizes > number * 8)
        found = words[offsets[:-1][rows] + number * 8] & MASKS[np.minimum(sizes[rows] - number * 8, 8)]
        hashes[rows] += mix(found ^ mix(np.array([number + 1], np.uint64)))
    return mix(hashes ^ sizes.astype(np.uint64))


def buckets(texts: pa.Array) -> Any:
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[: len(texts) + 1].astype(np.int64)
    data, sizes = np.frombuffer(texts.buffers()[2], np.uint8), np.diff(offsets)
    rows = np.repeat(np.arange(len(texts)), sizes)
    places = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    terms = data[offsets[:-1][rows] + places].astype(np.int64) * POWERS[places]
    sums = np.bincount(rows, weights=terms, minlength=len(texts)).astype(np.int64)
    return (sums + sizes * BASE) % PRIME % BUCKETS


class Columns:
    """A batch: float64 with NaN, and texts as codes and a dictionary (hashed once while it stays the same)."""

    known: dict[str, tuple[pa.Array, Any]] = {}  # noqa: RUF012  # a script's one cache

    def __init__(self, batch: pa.RecordBatch) -> None:
        self.rows = batch.num_rows
        self.numbers = {name: np.asarray(pc.fill_null(batch[name], np.nan)) for name in NUMBERS}
        self.codes, self.texts, self.hashes = {}, {}, {}
        for name in [*TEXTS, LABEL]:
            column = batch[name]
            self.codes[name], self.texts[name] = np.asarray(column.indices), column.dictionary
            known = self.known.get(name)
            if known is None or not known[0].equals(column.dictionary):
                known = self.known[name] = (column.dictionary, text_hashes(column.dictionary))
            self.hashes[name] = known[1]

    def prints(self) -> Any:
        state = np.full(self.rows, 0x6E6173666C6F7732, np.uint64)
        for name, values in self.numbers.items():
            bits = np.where(np.abs(values) < TINY, 0.0, values).view(np.uint64)
            bits[np.isnan(values)] = NAN
            state += mix(bits ^ salt(name))
        for name in TEXTS:
            state += mix(self.hashes[name] ^ salt(name))[self.codes[name]]
        return mix(state)


def places(prints: Any) -> Any:
    bucket = mix(mix(prints ^ salt(""))) % np.uint64(10_000)
    return np.where(bucket < 1000, 2, np.where(bucket < 2000, 1, 0))


def batches(source: str) -> Iterator[tuple[int, Columns]]:
    if source.endswith(".csv"):
        types = dict.fromkeys([*TEXTS, LABEL], pa.dictionary(pa.int32(), pa.string()))
        types |= dict.fromkeys(NUMBERS, pa.float64())
        with pv.open_csv(
            source,
            read_options=pv.ReadOptions(use_threads=False, block_size=8 << 20),
            convert_options=pv.ConvertOptions(column_types=types),
        ) as reader:
            for batch in reader:
                yield 0, Columns(batch)
        return
    for number, file in enumerate(sorted(Path(source).glob("*.parquet"))):
        parquet = pq.ParquetFile(file, read_dictionary=[*TEXTS, LABEL], memory_map=True)
        for batch in parquet.iter_batches(BATCH, use_threads=False):
            yield number, Columns(batch)


class Moments:
    def __init__(self) -> None:
        self.count, self.missing, self.mean, self.m2, self.low, self.high = 0, 0, 0.0, 0.0, np.inf, -np.inf

    def add(self, values: Any) -> Any:
        finite = values[np.isfinite(values)]
        self.missing += len(values) - len(finite)
        if len(finite):
            mean, total = finite.mean(), self.count + len(finite)
            delta = mean - self.mean
            self.m2 += np.square(finite - mean).sum() + delta * delta * (self.count * len(finite) / total)
            self.mean, self.count = self.mean + delta * len(finite) / total, total
            self.low, self.high = min(self.low, finite.min()), max(self.high, finite.max())
        return finite


class Distinct:
    """The values with the smallest hashes, as many as are kept."""

    def __init__(self) -> None:
        self.hashes, self.values, self.whole = np.empty(0, np.uint64), np.empty(0), True

    def add(self, finite: Any) -> None:
        values = np.where(np.abs(finite) < TINY, 0.0, finite)
        bits = values.view(np.uint64)
        hashes = (bits ^ (bits >> np.uint64(30))) * MIX_1
        hashes = (hashes ^ (hashes >> np.uint64(27))) * MIX_2
        hashes ^= hashes >> np.uint64(31)
        if not self.whole:
            kept = hashes < self.hashes[-1]
            hashes, values = hashes[kept], values[kept]
        hashes, values = np.concatenate([self.hashes, hashes]), np.concatenate([self.values, values])
        order = np.argsort(hashes)
        hashes, values = hashes[order], values[order]
        first = np.append(True, hashes[1:] != hashes[:-1])
        hashes, values = hashes[first], values[first]
        self.whole &= len(hashes) <= KEPT
        self.hashes, self.values = hashes[:KEPT], values[:KEPT]


class Counts:
    def __init__(self) -> None:
        self.texts, self.counts, self.pending = pa.array([], pa.string()), np.empty(0, np.int64), []

    def add(self, texts: pa.Array, counts: Any) -> None:
        self.pending.append((texts, counts))
        if sum(len(counts) for _, counts in self.pending) > 100_000:
            self.compact()

    def compact(self) -> None:
        every = pa.concat_arrays([self.texts, *(texts for texts, _ in self.pending)]).dictionary_encode()
        weights = np.concatenate([self.counts, *(counts for _, counts in self.pending)])
        self.texts, self.pending = every.dictionary, []
        self.counts = np.bincount(np.asarray(every.indices), weights, len(self.texts)).astype(np.int64)

    def top(self) -> list[str]:
        self.compact()
        table = pa.table({"text": self.texts, "count": self.counts}).filter(pc.field("count") > 0)
        order = table.sort_by([("count", "descending"), ("text", "ascending")])
        return order["text"].to_pylist()[:VOCABULARY]


def analyse(source: str) -> dict[str, Any]:
    moments, distinct = {n: Moments() for n in NUMBERS}, {n: Distinct() for n in NUMBERS}
    counts, labels = {n: Counts() for n in TEXTS}, {split: Counts() for split in SPLITS}
    prints, answers, rows = [], [], np.zeros(3, np.int64)
    for _, batch in batches(source):
        found = batch.prints()
        place = places(found)
        rows += np.bincount(place, minlength=3)
        prints.append(found)
        answers.append((batch.hashes[LABEL][batch.codes[LABEL]] >> np.uint64(33)).astype(np.uint32))
        for number, split in enumerate(SPLITS):
            codes = batch.codes[LABEL][place == number]
            labels[split].add(batch.texts[LABEL], np.bincount(codes, minlength=len(batch.texts[LABEL])))
        train = np.flatnonzero(place == 0)
        for name in NUMBERS:
            distinct[name].add(moments[name].add(batch.numbers[name][train]))
        for name in TEXTS:
            texts = batch.texts[name]
            counts[name].add(texts, np.bincount(batch.codes[name][train], minlength=len(texts)))
    every, label = np.concatenate(prints), np.concatenate(answers)
    order = np.argsort(every)
    every, label = every[order], label[order]
    starts = np.flatnonzero(np.append(True, every[1:] != every[:-1]))
    sizes = np.diff(np.append(starts, len(every)))
    mixed = np.minimum.reduceat(label, starts) != np.maximum.reduceat(label, starts)
    classes = sorted(set(labels["train"].top()) | set(labels["validation"].top()) | set(labels["test"].top()))
    return {
        "rows": dict(zip(SPLITS, rows.tolist(), strict=True)),
        "numbers": {
            name: {
                "count": one.count,
                "missing": one.missing,
                "mean": float(one.mean),
                "std": float(np.sqrt(one.m2 / one.count)),
                "min": float(one.low),
                "max": float(one.high),
                "sample": np.sort(distinct[name].values)[np.round(np.linspace(0, KEPT - 1, 129)).astype(int)].tolist(),
            }
            for name, one in moments.items()
        },
        "texts": {name: one.top() for name, one in counts.items()},
        "classes": classes,
        "duplicates": int((sizes - 1).sum()),
        "conflicting": int(sizes[mixed].sum()),
    }


class Shard:
    """An Arrow file of fixed-size lists, hashed while it is written."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.schema, self.pending, self.rows = path, schema, [], 0
        self.file, self.digest, self.closed = path.open("wb"), hashlib.sha256(), False
        self.writer = pa.ipc.new_file(self, schema)

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return self.file.write(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    def add(self, arrays: list[Any]) -> None:
        self.pending.append(arrays)
        self.rows += len(arrays[-1])
        waiting = sum(len(arrays[-1]) for arrays in self.pending)
        if waiting >= GROUP:
            self.put(waiting - waiting % GROUP)

    def put(self, rows: int) -> None:
        whole = [np.concatenate(column) for column in zip(*self.pending, strict=True)]
        for start in range(0, rows, GROUP):
            batch = [listed(column[start : min(start + GROUP, rows)]) for column in whole]
            self.writer.write_batch(pa.RecordBatch.from_arrays(batch, schema=self.schema))
        self.pending = [[column[rows:] for column in whole]]

    def end(self) -> dict[str, Any]:
        if self.pending and len(self.pending[0][-1]):
            self.put(sum(len(arrays[-1]) for arrays in self.pending))
        self.writer.close()
        self.file.close()
        return {"path": str(self.path), "rows": self.rows, "sha256": self.digest.hexdigest()}


def listed(values: Any) -> pa.Array:
    flat = np.ascontiguousarray(values).reshape(-1)
    if values.dtype == bool:
        items = pa.Array.from_buffers(pa.bool_(), len(flat), [None, pa.py_buffer(np.packbits(flat, bitorder="little"))])
    else:
        items = pa.array(flat)
    return items if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(items, values.shape[1])


def transform(source: str, output: Path, found: dict[str, Any]) -> list[dict[str, Any]]:
    vocabularies = {name: pa.array(texts) for name, texts in found["texts"].items()}
    classes, ids_of = pa.array(found["classes"]), {}

    def ids(name: str, batch: Columns) -> Any:
        texts = batch.texts[name]
        known = ids_of.get(name)
        if known is None or known[0] is not Columns.known[name][0]:
            values = vocabularies[name]
            ids = np.array(pc.fill_null(pc.add(pc.index_in(texts, value_set=values), 2), 1), np.int64)
            if len(values) == VOCABULARY:
                rest = np.flatnonzero(ids == 1)
                bucket = buckets(texts.take(pa.array(rest)))
                ids[rest] = np.where(bucket > 0, bucket + len(values) + 1, 1)
            known = ids_of[name] = (Columns.known[name][0], ids.astype(np.uint16))
        return known[1][batch.codes[name]]

    schema = pa.schema(
        [
            ("numeric", pa.list_(pa.float32(), len(NUMBERS))),
            ("missing", pa.list_(pa.bool_(), len(NUMBERS))),
            ("categorical", pa.list_(pa.uint16(), len(TEXTS))),
            ("label", pa.uint8()),
        ]
    )
    done, open_shards, raw, current = [], {}, None, -1

    def close() -> None:
        done.extend(shard.end() for shard in open_shards.values())
        open_shards.clear()
        if raw is not None:
            raw.close()

    for number, batch in batches(source):
        if number != current:
            close()
            raw, current = None, number
        place = places(batch.prints())
        numeric = np.empty((batch.rows, len(NUMBERS)), np.float32)
        missing = np.empty((batch.rows, len(NUMBERS)), bool)
        for column, name in enumerate(NUMBERS):
            values, about = batch.numbers[name], found["numbers"][name]
            gone = ~np.isfinite(values)
            scaled = np.clip((values - about["mean"]) / about["std"], -10, 10)
            scaled[gone] = 0
            numeric[:, column], missing[:, column] = scaled, gone
        texts = np.stack([ids(name, batch) for name in TEXTS], axis=1)
        label = np.asarray(pc.index_in(batch.texts[LABEL], value_set=classes)).astype(np.uint8)[batch.codes[LABEL]]
        for split in range(3):
            rows = np.flatnonzero(place == split)
            if len(rows):
                if split not in open_shards:
                    path = output / SPLITS[split] / f"part-{number:05d}.arrow"
                    open_shards[split] = Shard(path, schema)
                open_shards[split].add([numeric[rows], missing[rows], texts[rows], label[rows]])
        rows = np.flatnonzero(place == 2)
        kept = {name: pa.array(values[rows]) for name, values in batch.numbers.items()}
        kept |= {name: batch.texts[name].take(pa.array(batch.codes[name][rows])) for name in TEXTS}
        table = pa.table(kept)
        if raw is None:
            path = output / "raw_test" / f"part-{number:05d}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            raw = pq.ParquetWriter(path, table.schema, compression="zstd", write_statistics=False)
        raw.write_table(table)
    close()
    return done


def main(source: str, output: str) -> None:
    found = analyse(source)
    found["shards"] = transform(source, Path(output), found)
    Path(output, "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    np.seterr(over="ignore")
    main(sys.argv[1], sys.argv[2])
