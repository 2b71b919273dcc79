"""preprocess beside a plain pyarrow/NumPy program, tensorflow-transform and bare loops: the table of README.md.

    make bench-preprocess                                        # all of it; about 10 minutes, 2 GB of disk
    .venv/bin/python tests/benchmarks/preprocess.py --only 1M csv reading --repeat 1

Each program runs alone as a child process; what counts is the child's CPU seconds (user and system, its imports too)
and its peak memory, as the kernel has them. Programs that are compared run in turn, `--repeat` times, and the median of
the ratios is shown: a busy machine changes seconds, not ratios. Before a ratio counts, the results are compared: rows
of every split, means, deviations, vocabularies, duplicates, and every tensor of every shard.

tensorflow-transform 1.21 gets an environment of its own (`--tft FOLDER`, made where there is none; 1.5 GB).
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import preprocess_data as data  # noqa: E402  # beside this file, also for the children

from nasflow.core.artifacts import SPLITS, Dataset  # noqa: E402
from nasflow.data.reader import read  # noqa: E402

PARTS = ("1M", "4M", "csv", "tft", "images", "reading")
TFT_ROWS = 250_000


class Run:
    """What a child process took."""

    def __init__(self, command: Sequence[str | Path], log: Path) -> None:
        words, result = [str(word) for word in command], log.with_suffix(".json")
        with log.open("wb") as sink:
            subprocess.run(
                [sys.executable, str(HERE / "measured.py"), str(result), *words],
                check=True,
                stdout=sink,
                stderr=sink,
                env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
            )
        self.output, found = log.read_text(errors="replace"), json.loads(result.read_text())
        if found["status"]:
            raise RuntimeError(f"{words}: ended with {found['status']}: {self.output[-2000:]}")
        self.seconds, self.mebibytes = float(found["seconds"]), float(found["mebibytes"])


class Bench:
    """The folder, the programs, and the lines of the table."""

    def __init__(self, folder: Path, repeat: int, tft: Path) -> None:
        self.folder, self.repeat, self.tft = folder, repeat, tft
        folder.mkdir(parents=True, exist_ok=True)
        self.lines: list[str] = []

    def ours(self, train: Path, task: str = "tabular_classification") -> Run:
        """The preprocess step, from nothing."""
        for name in ("out", "work"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        spec = {"name": "bench", "task": task, "data": {"train": str(train), "label": data.LABEL}}
        (self.folder / "spec.json").write_text(json.dumps(spec))
        step = ["-m", "nasflow.preprocess", "--spec", self.folder / "spec.json"]
        places = ["--output", self.folder / "out", "--work-dir", self.folder / "work"]
        return Run([sys.executable, *step, *places], self.folder / "ours.log")

    def script(self, name: str, *given: str | Path, python: str | Path = sys.executable) -> Run:
        """A program beside this file."""
        return Run([python, HERE / name, *given], self.folder / f"{name}.log")

    def plain(self, source: Path) -> Run:
        """The hand-written program."""
        shutil.rmtree(self.folder / "plain", ignore_errors=True)
        return self.script("preprocess_plain.py", source, self.folder / "plain")

    def ratio(
        self, what: str, target: float, rows: int, other: str, runs: Callable[[], tuple[Run, Run]]
    ) -> tuple[float, float]:
        """A line: ours against another program. The CPU seconds of both."""
        pairs = [runs() for _ in range(self.repeat)]
        ratios = sorted(theirs.seconds / mine.seconds for mine, theirs in pairs)
        found = statistics.median(ratios)
        mine, theirs = (statistics.median(pair[side].seconds for pair in pairs) for side in (0, 1))
        peaks = [max(pair[side].mebibytes for pair in pairs) for side in (0, 1)]
        self.lines.append(
            f"| {what} | {rows / mine / 1e3:,.0f}k | {mine:.1f} s | {peaks[0]:,.0f} MiB | {other}: {theirs:.1f} s, "
            f"{peaks[1]:,.0f} MiB | {found:.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f}) | ≥ {target:g} | "
            f"{'reached' if found >= target else '**lost**'} |"
        )
        print(self.lines[-1], flush=True)
        return mine, theirs

    def table(self, rows: int, what: str, target: float, source: Path) -> None:
        """Parquet or CSV against the plain program."""

        def runs() -> tuple[Run, Run]:
            mine, theirs = self.ours(source), self.plain(source)
            self.same_results()
            return mine, theirs

        self.ratio(what, target, rows, "plain program", runs)

    def same_results(self) -> None:
        """Raises where the two programs did not do the same."""
        dataset = Dataset.read(str(self.folder / "out"))
        found = json.loads((self.folder / "plain" / "found.json").read_text())
        facts = dataset.json("statistics.json")
        transform = dataset.json("transform.json")
        assert {split: dataset.rows[split] for split in SPLITS} == found["rows"]
        for name, mine in ((name, facts["columns"][name]) for name in data.NUMBERS):
            theirs = found["numbers"][name]
            assert [mine[key] for key in ("count", "missing", "min", "max")] == [
                theirs[key] for key in ("count", "missing", "min", "max")
            ]
            assert np.allclose([mine["mean"], mine["std"]], [theirs["mean"], theirs["std"]], rtol=1e-9)
        edges = {one["name"]: one["edges"] for one in transform["numeric"]}
        assert all(set(edges[name]) <= set(found["numbers"][name]["sample"]) for name in data.NUMBERS)
        assert {one["name"]: one["vocabulary"] for one in transform["categorical"]} == found["texts"]
        duplicates = facts["duplicates"]
        assert not duplicates["exact"] or duplicates["train_source"] == found["duplicates"]
        assert not duplicates["exact"] or duplicates["conflicting"] == found["conflicting"]
        for split in SPLITS:
            mine, theirs = read(dataset, split), self._plain_tensors(found, split)
            assert np.allclose(mine.inputs["numeric"], theirs["numeric"], rtol=1e-6, atol=1e-6)
            assert np.array_equal(mine.inputs["categorical"], theirs["categorical"])
            assert np.array_equal(mine.labels, theirs["label"])

    def _plain_tensors(self, found: dict, split: str) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
        paths = [shard["path"] for shard in found["shards"] if Path(shard["path"]).parent.name == split]
        table = pa.concat_tables([pa.ipc.open_file(path).read_all() for path in sorted(paths)]).combine_chunks()
        flat = {name: table[name].chunk(0) for name in table.column_names}
        wide = {
            name: np.asarray(flat[name].values.cast(pa.float32() if name == "missing" else flat[name].type.value_type))
            for name in ("numeric", "missing", "categorical")
        }
        shaped = {name: values.reshape(table.num_rows, -1) for name, values in wide.items()}
        numeric = np.concatenate([shaped["numeric"], shaped["missing"]], axis=1)
        return {"numeric": numeric, "categorical": shaped["categorical"], "label": np.asarray(flat["label"])}

    def compare_tft(self) -> None:
        """Against tensorflow-transform on the same rows, and on more rows than it is given: it takes minutes and
        gigabytes. What its start-up takes is shown, too, by a run with a quarter of the rows."""
        if not (self.tft / "bin" / "python").exists():
            uv = Path(sys.executable).parent / "uv"
            subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, self.tft], check=True)
            wanted = ["tensorflow-transform==1.21.0", "setuptools<81"]
            place = ["--python", self.tft / "bin" / "python"]
            subprocess.run([uv, "pip", "install", "--quiet", *place, *wanted], check=True)
        source = data.parquet(self.folder / "tft-rows", TFT_ROWS, shards=4)
        few = data.parquet(self.folder / "tft-few", TFT_ROWS // 4, shards=1)
        mine = {TFT_ROWS: self.ours(source)}
        theirs, start = self._tft(source), self._tft(few)
        for rows in (1_000_000, 4_000_000):
            mine[rows] = self.ours(data.parquet(self.folder / f"{rows // 1_000_000}M", rows))
        rate = TFT_ROWS / theirs.seconds
        about = f"{theirs.seconds:.1f} s = {rate / 1e3:.1f}k rows/CPU-s, {theirs.mebibytes:,.0f} MiB"
        for rows, run in mine.items():
            found = rows / run.seconds / rate
            self.lines.append(
                f"| {rows // 1000:,}k rows, tensorflow-transform 1.21 at {TFT_ROWS // 1000}k | "
                f"{rows / run.seconds / 1e3:,.0f}k | {run.seconds:.1f} s | {run.mebibytes:,.0f} MiB | "
                f"TFT: {about} | {found:.0f} | ≥ 40 | {'reached' if found >= 40 else '**lost**'} |"
            )
        more = TFT_ROWS - TFT_ROWS // 4, theirs.seconds - start.seconds
        ours = 3_000_000 / (mine[4_000_000].seconds - mine[1_000_000].seconds)
        found = ours * more[1] / more[0]
        self.lines.append(
            f"| each further row: of 1M to 4M, TFT of {TFT_ROWS // 4000}k to {TFT_ROWS // 1000}k | "
            f"{ours / 1e3:,.0f}k | | | TFT: {more[0] / more[1] / 1e3:.1f}k rows/CPU-s | {found:.0f} | ≥ 40 | "
            f"{'reached' if found >= 40 else '**lost**'} |"
        )
        print("\n".join(self.lines[-4:]), flush=True)

    def _tft(self, source: Path) -> Run:
        shutil.rmtree(self.folder / "tft-out", ignore_errors=True)
        return self.script("preprocess_tft.py", source, self.folder / "tft-out", python=self.tft / "bin" / "python")

    def images(self) -> None:
        """60,000 images of 28 × 28 from gzipped IDX, against a loop that only decodes and writes."""
        file = data.fashion(self.folder / "idx")
        few = data.idx(self.folder / "idx-few", 200)

        def runs() -> tuple[Run, Run]:
            mine = self.ours(file, "image_classification")
            assert sum(Dataset.read(str(self.folder / "out")).rows.values()) == 60_000
            return mine, self.script("preprocess_images_plain.py", file, self.folder / "images-plain")

        mine, theirs = self.ratio("60k images from IDX", 0.5, 60_000, "bare loop", runs)
        starts = [
            self.ours(few, "image_classification").seconds,
            self.script("preprocess_images_plain.py", few, self.folder / "images-plain").seconds,
        ]
        rest = mine - starts[0], theirs - starts[1]
        self.lines.append(
            f"| the same without start-up (200 images: {starts[0]:.1f} s, {starts[1]:.1f} s) | "
            f"{60 / rest[0]:,.0f}k | {rest[0]:.1f} s | | bare loop: {rest[1]:.1f} s | {rest[1] / rest[0]:.2f} | | |"
        )
        print(self.lines[-1], flush=True)

    def reading(self) -> None:
        """The training split of the 1M table, and how long training waits for it."""
        self.ours(data.parquet(self.folder / "1M", 1_000_000))
        run = self.script("preprocess_reading.py", self.folder / "out", "--wait")
        found = json.loads(run.output.strip().splitlines()[-1])
        rate, share = found["rows_per_cpu_second"], found["waiting_share"]
        self.lines.append(
            f"| reading for training, {found['tensor_bytes_a_row']:.0f} bytes a row, sha256 checked | "
            f"{rate / 1e3:,.0f}k | | | | | ≥ 5,000k | {'reached' if rate >= 5e6 else '**lost**'} |"
        )
        self.lines.append(
            f"| share of an epoch that `mlp` waits for its rows ({found['epoch_rows']:,.0f} rows, "
            f"{found['epoch_seconds']:.1f} s) | | | | | {share:.1%} | | |"
        )
        print("\n".join(self.lines[-2:]), flush=True)


HEAD = (
    "| work | rows/CPU-s | CPU | peak | beside it | ratio (of rows/CPU-s) | target | |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--folder", type=Path, default=Path("runs/bench-preprocess"))
    parser.add_argument("--tft", type=Path, default=Path("runs/bench-preprocess/tft-env"))
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS)
    given = parser.parse_args()
    bench = Bench(given.folder.absolute(), given.repeat, given.tft.absolute())
    print(HEAD, flush=True)
    if "1M" in given.only:
        source = data.parquet(bench.folder / "1M", 1_000_000)
        bench.table(1_000_000, "1M rows × 30, Parquet", 0.5, source)
    if "4M" in given.only:
        source = data.parquet(bench.folder / "4M", 4_000_000)
        bench.table(4_000_000, "4M rows × 30, Parquet", 0.75, source)
    if "csv" in given.only:
        source = data.csv(bench.folder / "1M.csv", data.parquet(bench.folder / "1M", 1_000_000))
        bench.table(1_000_000, "1M rows × 30, one CSV", 0.5, source)
    if "tft" in given.only:
        bench.compare_tft()
    if "images" in given.only:
        bench.images()
    if "reading" in given.only:
        bench.reading()
    (bench.folder / "table.md").write_text("\n".join([HEAD, *bench.lines]) + "\n")


if __name__ == "__main__":
    main()
