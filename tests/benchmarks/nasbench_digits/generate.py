"""Trains every architecture of the table; resumable.

    .venv/bin/python -m tests.benchmarks.nasbench_digits.generate --workers 2 --parts runs/nasbench

Each worker keeps what it has finished in PARTS, a JSON line an architecture; the same command goes on from there, and
from `parts.jsonl.gz` beside this file, and writes `table.npz` when nothing is missing. A second run with the same PARTS
and `--from-the-end` shares the work: what one has finished, the other passes over.

A model is traced once and trained with each seed: its variables are given the values that `build` with that seed gives
them, and the optimiser starts anew.
"""

import argparse
import gzip
import json
import multiprocessing
import os
import platform
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.benchmarks.nasbench_digits import landscape
from tests.benchmarks.nasbench_digits.landscape import EPOCHS, INPUTS, OUTPUT, SEEDS, Table

COMMITTED = Path(__file__).with_name("parts.jsonl.gz")
"""What was trained so far."""
_SHARE = 24
"""Architectures that one process trains before it is replaced: TensorFlow keeps some memory of each."""


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--parts", type=Path, default=Path("runs/nasbench"))
    parser.add_argument("--output", type=Path, default=landscape.TABLE)
    parser.add_argument("--from-the-end", action="store_true", help="the last architecture first")
    parser.add_argument(
        "--fill", action="store_true", help="train nothing: write a table with stand-ins for what lacks"
    )
    parser.add_argument("--limit", type=int, help="train so many only, and write no table")
    arguments = parser.parse_args()
    arguments.parts.mkdir(parents=True, exist_ok=True)
    if arguments.fill:
        _table(arguments.parts, fill=True).write(arguments.output)
        return
    known = landscape.architectures()
    done = {entry["identity"] for entry in _entries(arguments.parts)}
    order = list(reversed(known)) if arguments.from_the_end else list(known)
    missing = [identity for identity in order if identity not in done][: arguments.limit]
    shares = [missing[start : start + _SHARE] for start in range(0, len(missing), _SHARE)]
    print(f"{len(known)} architectures, {len(done)} done, {len(missing)} to train", flush=True)
    started = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(arguments.workers, maxtasksperchild=1) as pool:
        for count, _ in enumerate(pool.imap_unordered(_work, [(share, arguments.parts) for share in shares]), start=1):
            print(f"{count}/{len(shares)} shares, {time.monotonic() - started:.0f} s", flush=True)
    if arguments.limit is None:
        _table(arguments.parts).write(arguments.output)
        print(f"{arguments.output}: {arguments.output.stat().st_size:,} bytes")


def _entries(parts: Path) -> Iterator[dict[str, Any]]:
    """Finished architectures; a line that a killed worker left half is passed over and made again."""
    kept = [gzip.decompress(COMMITTED.read_bytes()).decode()] if COMMITTED.exists() else []
    for text in [*kept, *(path.read_text() for path in sorted(parts.glob("*.jsonl")))]:
        for line in text.splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue


def _work(task: tuple[Sequence[str], Path]) -> None:
    identities, parts = task
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    known = landscape.architectures()
    data = _splits()
    with (parts / f"{os.getpid()}-{time.time_ns()}.jsonl").open("w") as file:
        for identity in identities:
            if any(entry["identity"] == identity for entry in _entries(parts)):  # another run was here
                continue
            file.write(json.dumps({"identity": identity, **_train(known[identity], data)}) + "\n")
            file.flush()


def _splits() -> Any:
    """(train, validation, test) as Tensors."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    from nasflow.data.tensors import Tensors

    digits = load_digits()
    images = (digits.images * 15).astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int32)
    rest, test = train_test_split(np.arange(len(labels)), test_size=0.2, random_state=0, stratify=labels)
    train, validation = train_test_split(rest, test_size=0.25, random_state=0, stratify=labels[rest])
    return [Tensors(inputs={"image": images[rows]}, labels=labels[rows]) for rows in (train, validation, test)]


def _train(values: dict[str, Any], data: Any) -> dict[str, Any]:
    import keras

    from nasflow.core import metrics
    from nasflow.models.build import build
    from nasflow.models.predict import predict
    from nasflow.models.trainer import Trainer
    from nasflow.spaces.cost import cost

    train, validation, test = data
    architecture = landscape.space().architecture(values)
    recipe = architecture.recipe
    batch = recipe.batch_size
    steps = train.rows // batch
    model = build(architecture, INPUTS, OUTPUT)
    trainer = Trainer(model, recipe, OUTPUT, batch=batch, steps=steps * EPOCHS)
    fresh = [np.zeros(variable.shape, variable.dtype) for variable in trainer.optimizer.variables]
    fresh = [
        variable.numpy() if "learning_rate" in variable.path else zero
        for variable, zero in zip(trainer.optimizer.variables, fresh, strict=True)
    ]
    curves: dict[str, list[list[float]]] = {"validation": [], "test": [], "log_loss": []}
    for seed in range(SEEDS):
        start = build(architecture, INPUTS, OUTPUT, seed=seed)
        for variable, other in zip(model.variables, start.variables, strict=True):
            variable.assign(other)
        for variable, value in zip(trainer.optimizer.variables, fresh, strict=True):
            variable.assign(value)
        curve: dict[str, list[float]] = {name: [] for name in curves}
        for epoch in range(1, EPOCHS + 1):
            order = np.random.default_rng([seed, epoch]).permutation(train.rows)[: steps * batch]
            trainer.run({"image": train.inputs["image"][order]}, train.labels[order])
            answered = predict(model, validation, OUTPUT)
            curve["validation"].append(metrics.compute("accuracy", validation.labels, answered))
            curve["log_loss"].append(metrics.compute("log_loss", validation.labels, answered))
            curve["test"].append(metrics.compute("accuracy", test.labels, predict(model, test, OUTPUT)))
        for name, found in curve.items():
            curves[name].append([round(value, 4) for value in found])
    keras.utils.clear_session(free_memory=False)
    return {"parameters": cost(architecture, INPUTS, OUTPUT).parameters, **curves}


def _table(parts: Path, *, fill: bool = False) -> Table:
    """`fill`: an architecture that was not trained has the curves of a trained one, and is marked so."""
    known = landscape.architectures()
    found = {entry["identity"]: entry for entry in _entries(parts)}
    trained = np.array([identity in found for identity in known])
    if not fill and not trained.all():
        missing = [identity for identity in known if identity not in found]
        raise SystemExit(f"{len(missing)} architectures are missing, the first is {missing[0]}; run again")
    row = {identity: place for place, identity in enumerate(known)}
    searched = landscape.space()
    rows = [row[searched.architecture(values).identity] for values in landscape.points()]
    identities = list(known)
    entries = [found[identities[place]] for place in _stand_ins(np.array(rows), trained)]
    import keras
    import tensorflow as tf

    about = {
        "epochs": EPOCHS,
        "seeds": SEEDS,
        "python": platform.python_version(),
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
    }
    return Table(
        identities=np.array(identities),
        trained=trained,
        row_of_point=np.array(rows, np.int16),
        parameters=np.array([entry["parameters"] for entry in entries], np.int32),
        validation=np.array([entry["validation"] for entry in entries], np.float32),
        test=np.array([entry["test"] for entry in entries], np.float32),
        log_loss=np.array([entry["log_loss"] for entry in entries], np.float32),
        about=about,
    )


def _stand_ins(rows: NDArray[np.int64], trained: NDArray[np.bool_]) -> list[int]:
    """For each architecture itself, or the trained one with the fewest edges that differ; the first among equals.
    `rows`: of the points' architectures."""
    places = np.arange(len(rows))
    edges = np.stack([places // len(landscape.OPERATIONS) ** edge % len(landscape.OPERATIONS) for edge in range(6)], 1)
    candidates = edges[trained[rows]]
    found = []
    for row, known in enumerate(trained):
        if known:
            found.append(row)
            continue
        apart = (candidates[:, None] != edges[rows == row]).sum(axis=2).min(axis=1)
        found.append(int(rows[trained[rows]][apart.argmin()]))
    return found


if __name__ == "__main__":
    main()
