"""`differentiable` beside random search on the table of nasbench_digits.

    python -m tests.benchmarks.differentiable --seeds 5 [--settings '{"auxiliary": 0.0, "most_skips": null}']

The supernet is trained for real, on the table's training rows alone; what its cells reach is looked up (of
cells that are not "trained" the table has a stand-in). One TensorFlow thread, CPU seconds. Its cost is given in
trainings of the table's kind (built, traced, 12 epochs; the mean of four random architectures measured here),
and random search gets as many more trials, of the architectures that are trained. No presets on either side.
"""

import argparse
import dataclasses
import itertools
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from tests.benchmarks.nasbench_digits import generate, landscape
from tests.benchmarks.nasbench_digits.landscape import EPOCHS, INPUTS, OUTPUT, Table

TOP = 5
_DRAWS = 20_000


def main() -> None:
    """Prints a table, a row a seed."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--table", type=Path, default=landscape.TABLE)
    arguments.add_argument("--settings", type=json.loads, default={}, help="of the strategy, as JSON")
    arguments.add_argument("--output", type=Path, help="a JSON line a seed is added here")
    flags = arguments.parse_args()
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    table, train = Table.read(flags.table), generate._splits()[0]
    one = _cost_of_a_training(train)
    validation, test = table.final_validation(), table.final_test()
    print(f"a training: {one:.1f} CPU-s; {len(test)} architectures, test mean {test.mean():.4f}, best {test.max():.4f}")
    columns = ["seed", "supernet CPU-s", "first cell, test", "its rank", f"best of {TOP}", "of them trained"]
    columns += ["random, as many trainings", f"random, {TOP}"]
    print("|", " | ".join(columns), "|")
    print("|", " | ".join(["---"] * len(columns)), "|")
    for seed in range(flags.seeds):
        found = _supernet(train, seed, flags.settings)
        rows = [table.row(values) for values in found["cells"]]
        chosen = max(rows, key=validation.__getitem__)
        trainings = TOP + round(found["cpu"] / one)
        rank = 1 + int((test > test[rows[0]]).sum())
        cells = [seed, f"{found['cpu']:.1f}", f"{test[rows[0]]:.4f}", rank, f"{test[chosen]:.4f}"]
        cells.append(int(table.trained[rows].sum()))
        known = validation[table.trained], test[table.trained]
        cells += [f"{_random(*known, trainings):.4f} ({trainings})", f"{_random(*known, TOP):.4f}"]
        print("|", " | ".join(map(str, cells)), "|", flush=True)
        if flags.output:
            with flags.output.open("a") as file:
                file.write(json.dumps({**found, "test": test[rows].tolist()}) + "\n")


def _supernet(train: Any, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """The likeliest cells that are different architectures."""
    from nasflow.models.bilevel import train_supernet
    from nasflow.strategies.registry import get_strategy

    strategy: Any = get_strategy("differentiable", settings)
    space, started = landscape.space(), time.process_time()
    relaxed = space.relaxed()
    seen: list[Any] = []
    why: list[str] = []

    def on_epoch(epoch: Any) -> bool:
        if epoch.judged is not None:
            seen.append(epoch.probabilities)
        why[:] = [strategy.trusted(relaxed, seen)[1]]
        return not why[0]

    history = train_supernet(
        relaxed.network,
        relaxed.choices,
        strategy.bilevel(),
        train,
        inputs=INPUTS,
        output=OUTPUT,
        seed=seed,
        on_epoch=on_epoch,
    )
    number = strategy.trusted(relaxed, seen)[0] or len(seen)
    cells: dict[str, dict[str, Any]] = {}
    for _, values in itertools.islice(strategy.ranking(relaxed, seen[number - 1]), 2_000):
        cells.setdefault(space.architecture(values).identity, values)
        if len(cells) == TOP:
            break
    return {
        "seed": seed,
        "settings": settings,
        "cpu": time.process_time() - started,
        "epochs": len(history),
        "why": why[0],
        "cells": list(cells.values()),
        "probabilities": seen[number - 1],
        "history": [dataclasses.asdict(epoch) for epoch in history][-1:],
    }


def _cost_of_a_training(train: Any) -> float:
    """CPU seconds of one trial's training; the first one, which warms up, is not counted."""
    from nasflow.models.build import build
    from nasflow.models.fit import fit

    known, times = list(landscape.architectures().values()), []
    for place in np.random.default_rng(0).choice(len(known), 5, replace=False):
        architecture, started = landscape.space().architecture(known[place]), time.process_time()
        model = build(architecture, INPUTS, OUTPUT)
        fit(model, architecture.recipe, train, output=OUTPUT, epochs=EPOCHS, seed=0)
        times.append(time.process_time() - started)
    return float(np.mean(times[1:]))


def _random(validation: Any, test: Any, trials: int) -> float:
    """Mean test accuracy of the best of so many random architectures by validation."""
    rng = np.random.default_rng(1)
    drawn = rng.integers(len(test), size=(_DRAWS, trials))
    return float(test[drawn[np.arange(_DRAWS), validation[drawn].argmax(axis=1)]].mean())


if __name__ == "__main__":
    main()
