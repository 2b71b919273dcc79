"""`differentiable` beside random search on digits at equal CPU seconds, start and presets of both included.

    python -m tests.benchmarks.differentiable --seconds 240 --seeds 0 1 2

One TensorFlow thread, one process a search. The clock of the budget, the trials and the supernet counts CPU seconds, so
that other work on the machine does not count. Scored: test accuracy (on rows that neither search saw) of the trial with
the best validation accuracy, and of the best one that is no preset; trained again from scratch with three seeds.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

EPOCHS = 10


def main() -> None:
    """Runs the searches one after the other, each in a process of its own, and prints a table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--seconds", type=float, default=240.0)
    arguments.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    arguments.add_argument("--strategies", nargs="*", default=["random", "differentiable"])
    arguments.add_argument("--output", type=Path, help="a JSON line a search is added here")
    arguments.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    flags = arguments.parse_args()
    if flags.one:
        print(json.dumps(_search(flags.one[0], int(flags.one[1]), flags.seconds)))
        return
    print("| strategy | seed | CPU s | trials | supernet CPU s | best trial | test | test, best searched |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for seed in flags.seeds:
        for strategy in flags.strategies:
            command = [sys.executable, "-m", "tests.benchmarks.differentiable", "--seconds", str(flags.seconds)]
            done = subprocess.run([*command, "--one", strategy, str(seed)], check=True, stdout=subprocess.PIPE)
            found = json.loads(done.stdout.decode().splitlines()[-1])
            if flags.output:
                with flags.output.open("a") as file:
                    file.write(json.dumps(found) + "\n")
            cells = [strategy, seed, found["cpu"], found["trials"], found["supernet_cpu"], found["origin"]]
            print("|", " | ".join(map(str, [*cells, found["test"], found["test_searched"]])), "|", flush=True)


def _search(strategy: str, seed: int, seconds: float) -> dict[str, Any]:
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    from nasflow.core.spec import BudgetSection, ConstraintsSection, RuntimeSection, ValidationSection
    from nasflow.core.workspace import cpu_seconds
    from nasflow.data.tensors import InputSpec, OutputSpec, Tensors
    from nasflow.models import bilevel, fit
    from nasflow.search import supernet, trial
    from nasflow.search.budget import Budget
    from nasflow.search.crew import Alone
    from nasflow.search.engine import Engine
    from nasflow.search.job import Setup
    from nasflow.search.ledger import Ledger
    from nasflow.search.limits import Limits
    from nasflow.search.oracle import make_oracle
    from nasflow.search.shared import Data
    from nasflow.search.study import Study
    from nasflow.spaces.cell import CellSpace

    digits = load_digits()
    images, labels = (digits.images * 15).astype(np.uint8)[..., None], digits.target.astype(np.int32)
    rest, test = train_test_split(np.arange(len(labels)), test_size=0.2, random_state=seed, stratify=labels)
    train, validation = train_test_split(rest, test_size=0.25, random_state=seed, stratify=labels[rest])
    splits = [Tensors(inputs={"image": images[rows]}, labels=labels[rows]) for rows in (train, validation, test)]
    inputs, output = InputSpec(image=(8, 8, 1), image_mean=(73.0,), image_std=(90.0,)), OutputSpec(classes=10)
    space = CellSpace(inputs=inputs, output=output)
    for module in (bilevel, fit, trial, supernet):
        module.time = types.SimpleNamespace(monotonic=time.process_time)
    started = cpu_seconds()
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(f"{folder}/ledger.jsonl")
        section = BudgetSection(trials=None, hours=seconds / 3600, epochs=EPOCHS)
        budget = Budget(section, EPOCHS, ledger, clock=lambda: cpu_seconds() - started)
        study = Study(
            space=space,
            limits=Limits(space, ConstraintsSection(), inputs=inputs, output=output),
            ledger=ledger,
            budget=budget,
            metric="accuracy",
            inputs=inputs,
            output=output,
            seed=seed,
        )
        setup = Setup(
            inputs=inputs,
            output=output,
            metrics=("accuracy",),
            seed=seed,
            validation=ValidationSection(),
            runtime=RuntimeSection(),
        )
        crew = Alone(setup, Data(train=splits[0], validation=splits[1]))
        Engine(study, make_oracle(strategy, study), crew, setup).run()
        spent = cpu_seconds() - started
        scored = sorted((r for r in ledger.ended if r.score is not None), key=lambda r: -(r.score or 0.0))
        searched = [r for r in scored if r.origin != "preset"]
        content = ledger.preparation.content
    return {
        "strategy": strategy,
        "seed": seed,
        "cpu": round(spent, 1),
        "trials": len(scored),
        "supernet_cpu": round(ledger.preparation.cpu_seconds, 1),
        "supernet_epochs": len(content.get("history", ())),
        "probabilities": content["history"][-1]["probabilities"] if content.get("history") else {},
        "origin": scored[0].origin,
        "validation": scored[0].score,
        "validation_searched": searched[0].score if searched else None,
        "values": scored[0].values,
        "values_searched": searched[0].values if searched else None,
        "all": [(r.origin, r.score, round(r.cpu_seconds, 1)) for r in ledger.ended],
        "test": _test(space, scored[0].values, splits, inputs, output),
        "test_searched": _test(space, searched[0].values, splits, inputs, output) if searched else None,
    }


def _test(space: Any, values: Any, splits: Any, inputs: Any, output: Any) -> float:
    """Mean test accuracy of three trainings on the train split."""
    import numpy as np

    from nasflow.core.metrics import compute
    from nasflow.models.build import build
    from nasflow.models.fit import fit
    from nasflow.models.predict import predict

    train, _, test = splits
    architecture, found = space.architecture(values), []
    for seed in range(100, 103):
        model = build(architecture, inputs, output, seed=seed)
        fit(model, architecture.recipe, train, output=output, epochs=EPOCHS, seed=seed)
        found.append(compute("accuracy", test.labels, predict(model, test, output)))
    return round(float(np.mean(found)), 4)


if __name__ == "__main__":
    main()
