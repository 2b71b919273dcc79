"""The tables and images that the benchmark of preprocess runs on: made here, the same every time.

20 numbers (normal, 1 % missing), 10 categories with 5 to 50,000 texts (the frequent ones first), and a label.
"""

import gzip
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

SHARDS = 16
FASHION = Path("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz")
CARDINALITIES = (5, 10, 20, 50, 100, 500, 1000, 5000, 20_000, 50_000)
NUMBERS = [f"n{place}" for place in range(20)]
TEXTS = [f"c{place}" for place in range(len(CARDINALITIES))]
LABEL = "label"


def parquet(folder: Path, rows: int, shards: int = SHARDS) -> Path:
    """`rows` rows in `shards` zstd Parquet files."""
    done = folder / "DONE"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for shard in range(shards):
            pq.write_table(_table(rows // shards, shard), folder / f"part-{shard:03d}.parquet", compression="zstd")
        done.touch()
    return folder


def csv(file: Path, source: Path) -> Path:
    """The same rows as one CSV file."""
    if not file.exists():
        temporary = file.with_suffix(".part")
        first = pq.read_schema(next(iter(sorted(source.glob("*.parquet")))))
        with pc.CSVWriter(str(temporary), first) as writer:
            for shard in sorted(source.glob("*.parquet")):
                writer.write_table(pq.read_table(shard, use_threads=False))
        temporary.rename(file)
    return file


def fashion(folder: Path) -> Path:
    """The 60,000 training images of Fashion-MNIST where they are installed, else images of their shape and count."""
    return FASHION if FASHION.exists() else idx(folder)


def idx(folder: Path, images: int = 60_000) -> Path:
    """Images of Fashion-MNIST's shape: blurred rectangles on black, gzipped, with their labels."""
    file = folder / "train-images-idx3-ubyte.gz"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(11)
        labels = rng.integers(0, 10, images).astype(np.uint8)
        pixels = np.zeros((images, 28, 28), np.uint8)
        left, top = rng.integers(2, 10, (2, images))
        wide, high = 4 + labels + rng.integers(0, 4, images), 6 + rng.integers(0, 12, images)
        shade = rng.integers(40, 256, (images, 28, 28))
        across, down = np.arange(28)[None, None, :], np.arange(28)[None, :, None]
        inside = (across >= left[:, None, None]) & (across < (left + wide)[:, None, None])
        inside = inside & (down >= top[:, None, None]) & (down < (top + high)[:, None, None])
        pixels[inside] = shade[inside]
        with gzip.open(folder / "train-labels-idx1-ubyte.gz", "wb", compresslevel=6) as sink:
            sink.write(struct.pack(">2I", 0x801, images) + labels.tobytes())
        with gzip.open(folder / "part.gz", "wb", compresslevel=6) as sink:
            sink.write(struct.pack(">4I", 0x803, images, 28, 28) + pixels.tobytes())
        (folder / "part.gz").rename(file)
    return file


def _table(rows: int, shard: int) -> pa.Table:
    rng = np.random.default_rng([7, shard])
    columns = {}
    signal = rng.normal(size=rows)
    for place, name in enumerate(NUMBERS):
        values = rng.normal(loc=place, scale=place + 1, size=rows)
        columns[name] = pa.array(values, mask=rng.random(rows) < 0.01)
    for place, (name, count) in enumerate(zip(TEXTS, CARDINALITIES, strict=True)):
        chosen = np.minimum((rng.random(rows) ** 2 * count).astype(np.int32), count - 1)
        columns[name] = pa.array([f"c{place}_{text:05d}" for text in range(count)]).take(pa.array(chosen))
    columns[LABEL] = pa.array(np.where(signal + rng.normal(size=rows) > 0, "yes", "no"))
    return pa.table(columns)
