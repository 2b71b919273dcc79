"""What a suggestion and its records cost at trial 100, 1,000 and 4,000 of one study, and what going on with it costs.

    .venv/bin/python tests/benchmarks/long_study.py [--trials 4000] [--strategies random,evolution,auto,…]
    .venv/bin/python tests/benchmarks/long_study.py --exhaust
    .venv/bin/python tests/benchmarks/long_study.py --pareto --trials 2000

Trials train nothing: a crew of one answers each at once, with a score that is a function of the point and a curve of
ten epochs. All else is a study's own: space `mlp` on 14 numbers and two categories, oracle, limits, cost model, budget
with a deadline, and a ledger that is a file. CPU milliseconds of this process a trial, over the hundred trials around
each mark. Results are in TRIAL_OVERHEAD.md.

`--exhaust`: a space of twelve yes-or-no choices, 4,096 points that mean 729 architectures (six pairs of layers, of
each pair none, one or two), until it says that there is nothing left.
"""

import argparse
import math
import resource
import tempfile
import time
from pathlib import Path

from nasflow.core.spec import BudgetSection, ConstraintsSection, RuntimeSection, ValidationSection
from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.search.budget import Budget
from nasflow.search.engine import Engine
from nasflow.search.job import Outcome, Report, Setup
from nasflow.search.ledger import Ledger
from nasflow.search.limits import Limits
from nasflow.search.oracle import make_oracle
from nasflow.search.study import Study
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import Recipe
from nasflow.spaces.graph import Graph
from nasflow.spaces.mlp import MlpSpace
from nasflow.spaces.parameters import Choice

STRATEGIES = ("random", "evolution", "auto", "hill_climb", "genetic", "tpe", "asha")
EPOCHS = 10
OUTPUT = OutputSpec(classes=3)


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


class Twelve(Space):
    """A chain of up to twelve layers: each is there, or not. Two neighbours have one width, so which of them is there
    makes no difference: 3⁶ = 729 architectures."""

    name = "twelve"

    def parameters(self):
        return tuple(Choice(name=f"layer{place}", values=("no", "yes")) for place in range(12))

    def presets(self):
        return ({f"layer{place}": "no" for place in range(12)},)

    def architecture(self, values):
        graph = Graph()
        x = graph.add("input", tensor="numeric")
        for place in range(12):
            if values[f"layer{place}"] == "yes":
                x = graph.add("dense", x, units=8 + place // 2, bias=True)
        return graph.finish(x, Recipe())


class Stub:
    """Answers at once. Notes what the process has cost after each trial."""

    size = 1

    def __init__(self, study, marks):
        self.study, self.marks, self.cost = study, marks, {}
        self.done = len(study.ledger.records)

    def start(self, job):
        self.job = job

    def wait(self, decide):
        record = self.study.ledger.get(self.job.trial_id)
        numbers = [v for v in record.values.values() if isinstance(v, int | float)]
        score = 1 / (1 + sum(abs(math.log10(abs(number) + 1e-6)) for number in numbers))
        score = min(0.999, score + int(record.architecture_id[:4], 16) / 2**20)
        history = []
        for number in range(1, self.job.epochs + 1):
            value = round(score * (1 - 0.5 / number), 6)
            history.append({"number": number, "loss": round(1 - value, 6), "score": value, "seconds": 0.01})
            why = decide(
                Report(
                    trial_id=self.job.trial_id, run=0, number=number, loss=1 - value, score=value, seconds=0.01,
                    spent=0.01 * number,
                )
            )  # fmt: skip
            if why:
                break
        self.done += 1
        if self.done in self.marks:
            self.cost[self.done] = cpu_seconds()
        value = history[-1]["score"]
        return Outcome(
            trial_id=self.job.trial_id, status="completed", score=value, metrics={"accuracy": value}, runs=[value],
            epochs=len(history), history=history, seconds=0.1 + 0.01 * len(history), cpu_seconds=0.1,
        )  # fmt: skip

    def close(self):
        """Nothing to end."""


def study_of(folder, space, inputs, *, trials, objectives=()):
    ledger = Ledger(f"{folder}/ledger.jsonl")
    return Study(
        space=space,
        limits=Limits(space, ConstraintsSection(parameters=10**9), inputs=inputs, output=OUTPUT),
        ledger=ledger,
        budget=Budget(BudgetSection(trials=trials, hours=10_000, device_hours=10_000), EPOCHS, ledger),
        metric="accuracy",
        inputs=inputs,
        output=OUTPUT,
        seed=0,
        cost_rows=1_000,
        objectives=objectives,
    )


def run(study, strategy, marks=(), stopping=None):
    setup = Setup(
        inputs=study.inputs,
        output=OUTPUT,
        metrics=("accuracy",),
        seed=0,
        validation=ValidationSection(),
        runtime=RuntimeSection(),
    )
    crew = Stub(study, set(marks))
    before = cpu_seconds()
    oracle = make_oracle(strategy, study)
    resumed = cpu_seconds() - before
    Engine(study, oracle, crew, setup, stopping=stopping and stopping(study)).run()
    return oracle, crew, resumed


def table_inputs():
    return InputSpec(numeric=14, cardinalities=(9, 18))


def growth(strategy, trials, *, objectives=(), stopping=None):
    inputs = table_inputs()
    space = MlpSpace(inputs=inputs, output=OUTPUT)
    wanted = [mark for mark in (100, 1_000, 2_000, 4_000) if mark <= trials]
    marks = [place for mark in wanted for place in (mark - 90, mark)]
    with tempfile.TemporaryDirectory() as folder:
        run(study_of(f"{folder}/warm", space, inputs, trials=5), strategy)
        memory, started = resident_mb(), cpu_seconds()
        study = study_of(folder, space, inputs, trials=trials, objectives=objectives)
        _, crew, _ = run(study, strategy, marks, stopping)
        each = [(crew.cost[mark] - crew.cost[mark - 90]) / 90 * 1000 for mark in wanted]
        whole, grown = cpu_seconds() - started, resident_mb() - memory
        size = Path(folder, "ledger.jsonl").stat().st_size / 1e6
        before = cpu_seconds()
        again = study_of(folder, space, inputs, trials=trials, objectives=objectives)
        read = cpu_seconds() - before
        _, _, resumed = run(again, strategy, stopping=stopping)
        print(
            f"| {strategy} | "
            + " | ".join(f"{value:.1f}" for value in each)
            + f" | {whole:.0f} | {grown:.0f} | {size:.1f} | {read:.1f} + {resumed:.1f} |",
            flush=True,
        )


def exhaust(strategy):
    inputs = InputSpec(numeric=4)
    space = Twelve()
    with tempfile.TemporaryDirectory() as folder:
        study = study_of(folder, space, inputs, trials=10**6)
        started = cpu_seconds()
        oracle, _, _ = run(study, strategy)
        statuses = [record.status for record in study.ledger.records]
        print(
            f"| {strategy} | {oracle.stopped_by} | {len(statuses)} | {statuses.count('completed')} | "
            f"{statuses.count('same')} | {cpu_seconds() - started:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=4_000)
    parser.add_argument("--strategies", default=",".join(STRATEGIES))
    parser.add_argument("--exhaust", action="store_true")
    parser.add_argument("--pareto", action="store_true")
    parser.add_argument("--stopping", action="store_true")
    arguments = parser.parse_args()
    begun = time.monotonic()
    for name in arguments.strategies.split(","):
        if arguments.exhaust:
            exhaust(name)
            continue
        rule = None
        if arguments.stopping:
            from nasflow.core.spec import StoppingSection
            from nasflow.search.stopping import Stopping

            def rule(study):
                return Stopping(study, StoppingSection(median=True, curve=True))

        goals = ("accuracy", "parameters") if arguments.pareto else ()
        growth(name, arguments.trials, objectives=goals, stopping=rule)
    print(f"{time.monotonic() - begun:.0f} s")
