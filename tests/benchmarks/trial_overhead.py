"""What a trial costs beside training: ours, plain Keras's and Keras Tuner's loop, side by side, in CPU seconds.

    .venv/bin/python tests/benchmarks/trial_overhead.py [--trials 12] [--epochs 5] [--rounds 3]
    .venv/bin/python tests/benchmarks/trial_overhead.py --share --trials 10
    .venv/bin/python tests/benchmarks/trial_overhead.py --memory 200

The same small network (64-64-32-10, 8,074 parameters), batches of 64, AdamW, scikit-learn's digits as a table of 64
numbers (1,300 rows train, 497 validation), scored after each epoch, everywhere. What each column does a trial:

    plain keras    build, compile, fit with validation data, clear_session
    keras tuner    the same through RandomSearch's own loop (its checkpoint, its collections, its JSON)
    bare           nasflow's build and fit alone
    nasflow        nasflow's build and fit through the whole engine: oracle, ledger, backup after each epoch

Each runs in a process of its own that has imported TensorFlow and done one trial before the clock starts; rounds
alternate, so that a busy machine is busy for all. Results are in TRIAL_OVERHEAD.md.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

COLUMNS = ("plain keras", "keras tuner", "bare", "nasflow")


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def digits():
    import numpy as np
    from sklearn.datasets import load_digits

    found = load_digits()
    x, y = (found.data / 16).astype(np.float32), found.target.astype(np.int32)
    return (x[:1300], y[:1300]), (x[1300:], y[1300:])


def keras_model(_=None):
    import keras

    x = inputs = keras.Input((64,))
    for units in (64, 32):
        x = keras.layers.Dense(units, activation="relu")(x)
    model = keras.Model(inputs, keras.layers.Dense(10)(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(2e-3), loss, metrics=["accuracy"])
    return model


def plain_keras(trials, epochs):
    import keras

    train, validation = digits()
    for _ in range(trials):
        keras_model().fit(*train, epochs=epochs, batch_size=64, validation_data=validation, verbose=0)
        keras.utils.clear_session()


def keras_tuner_loop(trials, epochs):
    import keras_tuner

    def build(hp):
        hp.Float("unused", 0.0, 1.0)
        return keras_model()

    train, validation = digits()
    with tempfile.TemporaryDirectory() as folder:
        tuner = keras_tuner.RandomSearch(build, "val_accuracy", max_trials=trials, directory=folder, seed=0)
        tuner.search(*train, epochs=epochs, batch_size=64, validation_data=validation, verbose=0)


def ours():
    from nasflow.core.spec import RuntimeSection, ValidationSection
    from nasflow.data.tensors import InputSpec, OutputSpec, Tensors
    from nasflow.search.job import Setup
    from nasflow.search.shared import Data
    from nasflow.spaces._base import Space
    from nasflow.spaces.architecture import Recipe
    from nasflow.spaces.graph import Graph
    from nasflow.spaces.parameters import Real

    class Small(Space):
        name = "small"

        def parameters(self):
            return (Real(name="unused", low=0.0, high=1.0),)

        def presets(self):
            return ({"unused": 0.5},)

        def architecture(self, values):
            graph = Graph()
            x = graph.add("input", tensor="numeric")
            for units in (64, 32):
                x = graph.add("activation", graph.add("dense", x, units=units, bias=True), function="relu")
            return graph.finish(
                x, Recipe(batch_size=64, schedule="constant", learning_rate=2e-3 + values["unused"] * 1e-9)
            )

    (x, y), (x_val, y_val) = digits()
    data = Data(
        train=Tensors(inputs={"numeric": x}, labels=y), validation=Tensors(inputs={"numeric": x_val}, labels=y_val)
    )
    inputs, output = InputSpec(numeric=64), OutputSpec(classes=10)
    setup = Setup(
        inputs=inputs,
        output=output,
        metrics=("accuracy",),
        seed=0,
        validation=ValidationSection(),
        runtime=RuntimeSection(),
    )
    return Small(), data, setup


def bare(trials, epochs):
    import keras

    from nasflow.models.build import build
    from nasflow.models.fit import fit

    space, data, setup = ours()
    for number in range(trials):
        architecture = space.architecture({"unused": number / 1000})
        model = build(architecture, setup.inputs, setup.output)
        fit(
            model,
            architecture.recipe,
            data.train,
            output=setup.output,
            epochs=epochs,
            seed=0,
            validation=data.validation,
        )
        keras.utils.clear_session(free_memory=False)


def engine(trials, epochs, *, after=10**6, workers=1, note=lambda _: None):
    import dataclasses

    from nasflow.core.spec import BudgetSection, ConstraintsSection
    from nasflow.search.budget import Budget
    from nasflow.search.crew import Alone, Relay
    from nasflow.search.engine import Engine
    from nasflow.search.launcher import LocalProcesses
    from nasflow.search.ledger import Ledger
    from nasflow.search.limits import Limits
    from nasflow.search.oracle import make_oracle
    from nasflow.search.pool import Pool
    from nasflow.search.shared import write
    from nasflow.search.study import Study

    space, data, setup = ours()
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(f"{folder}/ledger.jsonl")
        study = Study(
            space=space,
            limits=Limits(space, ConstraintsSection(), inputs=setup.inputs, output=setup.output),
            ledger=ledger,
            budget=Budget(BudgetSection(trials=trials), epochs, ledger),
            metric="accuracy",
            inputs=setup.inputs,
            output=setup.output,
            seed=0,
            cost_rows=1300,
        )
        setup = dataclasses.replace(setup, backups_path=f"{folder}/trials")

        def processes():
            write(data, Path(folder, "tensors"))
            shared = dataclasses.replace(setup, tensors_path=f"{folder}/tensors")
            return Pool(shared, LocalProcesses(threads=1, gpus=()), size=workers, recycle=25)

        crew = Relay(Alone(setup, data), processes, after=after)
        run = crew.wait

        def wait(decide):
            outcome = run(decide)
            note(outcome)
            return outcome

        crew.wait = wait
        Engine(study, make_oracle("random", study), crew, setup).run()
        return ledger


RUNS = {"plain keras": plain_keras, "keras tuner": keras_tuner_loop, "bare": bare, "nasflow": engine}


def one(column, trials, epochs):
    RUNS[column](1, epochs)
    before = cpu_seconds()
    RUNS[column](trials, epochs)
    print(json.dumps((cpu_seconds() - before) / trials))


def share(trials, epochs):
    """What the engine adds, inside one process, so that a busy machine is busy for both: all CPU seconds of the search
    less those of building, training and scoring, backups included."""
    engine(1, epochs)
    inside = []
    before = cpu_seconds()
    engine(trials, epochs, note=lambda outcome: inside.append(outcome.cpu_seconds))
    whole = cpu_seconds() - before
    print(f"{trials} trials: {whole:.2f} CPU-s, {sum(inside):.2f} of them in trials: +{whole / sum(inside) - 1:.1%}")


def memory(trials):
    """Resident memory of the process that trains, after each trial; 25 in the search's own process, then others'."""
    seen = []

    def note(outcome):
        seen.append(outcome.memory_mb)
        print(f"{len(seen)} {seen[-1]:.0f} MB", file=sys.stderr, flush=True)

    engine(trials, 3, after=25, note=note)
    first, later = seen[:25], seen[25:]
    print(f"own process   first {first[0]:.0f} MB, after 25 trials {first[-1]:.0f} MB")
    each = [later[start : start + 25] for start in range(0, len(later), 25)]
    for number, part in enumerate(each):
        print(f"process {number + 1:2d}    first {part[0]:.0f} MB, last {part[-1]:.0f} MB")
    peaks = [max(part) for part in each if len(part) == 25]
    print(f"peaks of the processes: {min(peaks):.0f} to {max(peaks):.0f} MB; {trials} trials")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--trials", type=int, default=12)
    arguments.add_argument("--epochs", type=int, default=5)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--memory", type=int)
    arguments.add_argument("--share", action="store_true")
    arguments.add_argument("--one", choices=COLUMNS)
    given = arguments.parse_args()
    if given.one:
        one(given.one, given.trials, given.epochs)
        return
    if given.share:
        share(given.trials, given.epochs)
        return
    if given.memory:
        memory(given.memory)
        return
    threads = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")
    times = {column: [] for column in COLUMNS}
    for _ in range(given.rounds):
        for column in COLUMNS:
            command = [sys.executable, __file__, "--one", column, "--trials", str(given.trials)]
            command += ["--epochs", str(given.epochs)]
            found = subprocess.run(command, env={**os.environ, **threads}, capture_output=True, text=True, check=True)
            times[column].append(float(found.stdout.splitlines()[-1]))
            print(f"{column}: {1000 * times[column][-1]:.0f} CPU-ms a trial", file=sys.stderr, flush=True)
    middle = {column: statistics.median(values) for column, values in times.items()}
    print(f"{given.trials} trials of {given.epochs} epochs, median of {given.rounds} rounds, one thread\n")
    print("| | CPU-ms a trial | against plain Keras |\n| --- | --- | --- |")
    for column in COLUMNS:
        each = ", ".join(f"{1000 * value:.0f}" for value in times[column])
        print(f"| {column} | {1000 * middle[column]:.0f} ({each}) | {middle[column] / middle['plain keras']:.2f} |")
    print(f"\nthe engine around a trial: {middle['nasflow'] / middle['bare'] - 1:+.1%} of bare build and fit")


if __name__ == "__main__":
    main()
