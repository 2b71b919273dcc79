"""Every strategy against random search, on landscapes whose optimum is known: the tables of STRATEGIES.md.

    .venv/bin/python tests/benchmarks/strategies.py                 # 20 seeds, 120 trials; about 5 CPU-minutes
    .venv/bin/python tests/benchmarks/strategies.py --seeds 3 --only additive --strategies tpe random

A *seed* is a landscape and a search on it. All strategies get the same landscapes, so they are compared in pairs
(Wilcoxon's signed-rank test, one-sided, over the seeds). Regret is the optimum minus the best point found, in standard
deviations of the landscape's random points. No strategy was given settings: the defaults are what is measured.
"""

import argparse
import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces.cnn import CnnSpace
from nasflow.spaces.parameters import Choice, Integer, Parameter, Real, When, key, sample
from nasflow.strategies._base import Result, Strategy, Suggestion
from nasflow.strategies.registry import STRATEGIES, get_strategy

OPERATIONS = ("skip", "conv1", "conv3", "conv5", "pool")
EDGES = tuple(Choice(name=f"edge{i}", values=OPERATIONS) for i in range(10))
MARKS = (30, 60, 120)
SLOW = {"predictor": ("additive", "interactions")}
"""Strategies that take minutes a landscape run on these only."""
EPOCHS = 9
"""Of a whole trial, for the strategies that ask for fewer."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Landscape:
    """A space with a known worth for each point."""

    parameters: tuple[Parameter, ...]
    worth: Callable[[Mapping[str, Any]], float]
    optimum: float


def additive(seed: int) -> Landscape:
    """10 edges with one of 5 operations each; each has a worth of its own, N(0, 1)."""
    worths = np.random.default_rng([1, seed]).normal(size=(10, 5))

    def worth(values: Mapping[str, Any]) -> float:
        return float(sum(worths[i, OPERATIONS.index(values[edge.name])] for i, edge in enumerate(EDGES)))

    return Landscape(parameters=EDGES, worth=worth, optimum=float(worths.max(axis=1).sum()))


def interactions(seed: int) -> Landscape:
    """The same space as an NK landscape (Kauffman 1993) with K = 2: what an operation is worth depends on those of the
    next two edges, so a gene that helps here hurts there."""
    tables = np.random.default_rng([2, seed]).normal(size=(10, 5, 5, 5))
    total = np.zeros((5,) * 10, dtype=np.float32)
    for i in range(10):
        axes = [i, (i + 1) % 10, (i + 2) % 10]
        order = np.argsort(axes)
        shape = [5 if axis in axes else 1 for axis in range(10)]
        total += tables[i].transpose(order).reshape(shape).astype(np.float32)

    def worth(values: Mapping[str, Any]) -> float:
        place = [OPERATIONS.index(values[edge.name]) for edge in EDGES]
        return float(sum(tables[i, place[i], place[(i + 1) % 10], place[(i + 2) % 10]] for i in range(10)))

    return Landscape(parameters=EDGES, worth=worth, optimum=float(total.max()))


def conditional(seed: int) -> Landscape:
    """Three bodies with their own genes (three choices of 4, two reals), and three shared numbers: 19 parameters, 9 of
    them active. Choices are worth N(0, 1), a number −6 (u − u*)² on its scale."""
    rng = np.random.default_rng([3, seed])
    parameters: list[Parameter] = [Choice(name="body", values=("a", "b", "c"))]
    for body in ("a", "b", "c"):
        when = When(parent="body", values=(body,))
        parameters += [Choice(name=f"{body}{i}", values=("p", "q", "r", "s"), when=when) for i in range(3)]
        parameters += [Real(name=f"{body}{i}", low=1e-4, high=1.0, log=True, when=when) for i in (3, 4)]
    parameters += [
        Real(name="rate", low=1e-4, high=1e-1, log=True),
        Real(name="decay", low=0.0, high=0.5),
        Integer(name="width", low=16, high=512, log=True),
    ]
    worths = {p.name: dict(zip(p.values, rng.normal(size=p.count), strict=True)) for p in parameters if _chosen(p)}
    best = {p.name: float(rng.random()) for p in parameters if not _chosen(p)}
    by_name = {p.name: p for p in parameters}

    def worth(values: Mapping[str, Any]) -> float:
        return float(
            sum(
                worths[name][value] if name in worths else -6 * (by_name[name].unit(value) - best[name]) ** 2
                for name, value in values.items()
            )
        )

    body = max(worths["body"][b] + sum(max(worths[f"{b}{i}"].values()) for i in range(3)) for b in "abc")
    return Landscape(parameters=tuple(parameters), worth=worth, optimum=float(body))


def _chosen(parameter: Parameter) -> bool:
    return isinstance(parameter, Choice)


def noisy(seed: int) -> Landscape:
    """The additive one, measured with an error of half a standard deviation."""
    return additive(seed)


LANDSCAPES = {"additive": additive, "interactions": interactions, "conditional": conditional, "noisy": noisy}
NOISE = {"noisy": 0.5}


def search(name: str, strategy: Strategy, seed: int, trials: int) -> tuple[list[float], float]:
    """(true regret of the point with the best measured score after each trial's worth of epochs, seconds of CPU)."""
    landscape = LANDSCAPES[name](seed)
    points = np.random.default_rng([4, seed])
    spread = float(np.std([landscape.worth(sample(landscape.parameters, points)) for _ in range(1000)]))
    errors, epoch_errors = np.random.default_rng([5, seed]), np.random.default_rng([7, seed])
    history: list[Result] = []
    regrets: list[float] = []
    spent, whole, best = 0, -math.inf, math.inf
    cpu = 0.0
    while spent < trials * EPOCHS:
        started = time.process_time()
        found = strategy.suggest(landscape.parameters, (), history, 1, np.random.default_rng([6, seed, len(history)]))
        cpu += time.process_time() - started
        if not found:
            break
        (values,) = found
        epochs = (values.epochs if isinstance(values, Suggestion) else None) or EPOCHS
        worth = landscape.worth(values)
        # Of a short trial: errors of 0.5 and 1 standard deviation at a third and a ninth of the epochs.
        error = NOISE.get(name, 0.0) + 0.5 * math.log(EPOCHS / epochs, 3)
        score = worth + float(errors.normal()) * error * spread
        noise = [NOISE.get(name, 0.0) + 0.5 * math.log(EPOCHS / epoch, 3) for epoch in range(1, epochs)]
        curve = worth + epoch_errors.normal(size=epochs - 1) * noise * spread
        history.append(
            Result(
                trial_id=str(len(history)),
                values=dict(values),
                status="completed",
                score=score,
                curve=(*curve.tolist(), score),
                epochs=epochs,
                granted=epochs,
            )
        )
        spent += epochs
        if epochs == EPOCHS and score > whole:
            whole, best = score, (landscape.optimum - worth) / spread
        regrets += [best] * (spent // EPOCHS - len(regrets))
    return (regrets + [best] * trials)[:trials], cpu


def compare(names: Sequence[str], landscape: str, *, seeds: int, trials: int) -> list[str]:
    """A Markdown table, best first."""
    from scipy.stats import wilcoxon

    regrets: dict[str, np.ndarray] = {}
    marks = [mark for mark in MARKS if mark <= trials]
    wanted = [name for name in names if landscape in SLOW.get(name, (landscape,))]
    for name in dict.fromkeys(["random", *wanted]):
        started = time.process_time()
        runs = [search(landscape, get_strategy(name, epochs=EPOCHS), seed, trials) for seed in range(seeds)]
        regrets[name] = np.array([[run[0][mark - 1] for mark in marks] for run in runs])
        means = " ".join(f"{value:.3f}" for value in regrets[name].mean(axis=0))
        print(f"{landscape} {name}: {means}, {time.process_time() - started:.1f} CPU-s", flush=True)
    rows = []
    for name, found in sorted(regrets.items(), key=lambda item: float(item[1][:, -1].mean())):
        control, mine = regrets["random"][:, -1], found[:, -1]
        p = (
            ""
            if name == "random"
            else f"{wilcoxon(mine, control, alternative='less', zero_method='zsplit').pvalue:.1g}"
        )
        wins = "" if name == "random" else f"{int((mine < control).sum())}/{seeds}"
        means = " | ".join(f"{value:.2f}" for value in found.mean(axis=0))
        error = found[:, -1].std(ddof=1) / math.sqrt(seeds)
        rows.append(f"| {name} | {means} ± {error:.2f} | {wins} | {p} |")
    head = " | ".join(f"at {mark}" for mark in marks)
    return [f"| strategy | {head} | beats random | p |", "| --- |" + " --- |" * (len(marks) + 2), *rows]


def costs(names: Sequence[str]) -> list[str]:
    """A Markdown table: milliseconds of CPU a suggestion, on the real `cnn` space."""
    space = CnnSpace(inputs=InputSpec(image=(28, 28, 1)), output=OutputSpec(classes=10))
    rng = np.random.default_rng(0)
    points = {key(point): point for point in (sample(space.parameters(), rng) for _ in range(600))}
    history = [
        Result(trial_id=str(i), values=point, status="completed", score=float(rng.normal()), epochs=9, granted=9)
        for i, point in enumerate(itertools.islice(points.values(), 500))
    ]
    rows = []
    for name in names:
        cells = []
        for length in (50, 200, 500):
            strategy = get_strategy(name, epochs=EPOCHS)
            times = []
            for repeat in range(5):
                started = time.process_time()
                strategy.suggest(
                    space.parameters(), space.presets(), history[:length], 1, np.random.default_rng(repeat)
                )
                times.append(time.process_time() - started)
            cells.append(f"{1000 * sorted(times)[2]:.1f}")
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return ["| strategy | 50 trials | 200 | 500 |", "| --- | --- | --- | --- |", *rows]


def main() -> None:
    """Runs what the flags ask for, prints and writes the tables."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seeds", type=int, default=20)
    arguments.add_argument("--trials", type=int, default=120)
    arguments.add_argument("--only", choices=[*LANDSCAPES, "costs"], nargs="*")
    comparable = [name for name in STRATEGIES if name != "differentiable"]  # it needs a network to train
    arguments.add_argument("--strategies", choices=comparable, nargs="*", default=comparable)
    arguments.add_argument("--output", type=Path, help="write the tables here")
    flags = arguments.parse_args()
    tables: list[str] = []
    for name in flags.only or ["costs", *LANDSCAPES]:
        if name == "costs":
            tables += ["### CPU milliseconds a suggestion", "", *costs(flags.strategies), ""]
            continue
        found = compare(flags.strategies, name, seeds=flags.seeds, trials=flags.trials)
        if flags.output:
            flags.output.write_text("\n".join(tables))
        tables += [f"### {name}", "", " ".join((LANDSCAPES[name].__doc__ or "").split()), "", *found, ""]
    text = "\n".join(tables)
    if flags.output:
        flags.output.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
