"""`differentiable` on the table of nasbench_digits, beside other strategies at as many trainings: DIFFERENTIABLE.md.

    python -m tests.benchmarks.differentiable --seeds 12                       # trains what is not in RUNS, then tells
    python -m tests.benchmarks.differentiable --only defaults "second order" --seeds 5
    python -m tests.benchmarks.differentiable --known                          # trains nothing
    python -m tests.benchmarks.differentiable --searches 0                     # trains only

The supernet is trained for real, on the table's training rows alone; what its cells reach is looked up, and so is the
rest of the search: the strategy is given the 40 likeliest cells, as in a study, and is replayed
(`nasbench_digits.replay`). Of n supernets number i serves the search seeds i, i + n, i + 2n, …; a pair of Wilcoxon's
test is a supernet's mean over its search seeds and the other strategy's over the same ones.

One TensorFlow thread, CPU seconds. After each supernet one trial of the table's kind is trained, too (built, traced, 12
epochs, each scored), another architecture each time: the supernet's cost is told in trainings of that kind, rounded up,
and the search has so many fewer. What only the derivation reads (`most_skips`) needs no training of its own: the end
that it would have made is made afterwards, from the softmaxes of each epoch.
"""

import argparse
import dataclasses
import functools
import itertools
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.benchmarks.nasbench_digits import landscape, replay
from tests.benchmarks.nasbench_digits.compare import smaller
from tests.benchmarks.nasbench_digits.landscape import EPOCHS, INPUTS, OUTPUT, Table

from nasflow.spaces.relaxed import Relaxed
from nasflow.strategies.differentiable import Differentiable
from nasflow.strategies.ranking import skips_of_the_best
from nasflow.strategies.registry import get_strategy

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "defaults": {},
    "second order": {"unroll": 0.025},
    "partial channels, 1 of 2": {"partial": 2},
    "partial channels, 1 of 4": {"partial": 4},
    "auxiliary skips alone": {"most_skips": None},
    "a bound on skips alone": {"auxiliary": 0.0},
    "dropout of skips alone": {"auxiliary": 0.0, "most_skips": None, "skip_dropout": 0.5},
    "no remedy": {"auxiliary": 0.0, "most_skips": None},
    "no warm-up": {"warm_up": 0.0},
}
"""Of the strategy, by the name of a row."""
COMPARED = ("defaults", "second order", "partial channels, 1 of 2")
"""With other strategies."""
BESIDE = ("random", "evolution", "auto")
MARKS = (25, 50, 100, 150)
TOP = 5
_KEPT, _LOOKED_AT = 40, 4_000
"""As `nasflow.search.preparation` has them."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One supernet."""

    seed: int
    probabilities: list[dict[str, list[float]] | None]
    """After each epoch; None in the warm-up."""
    cpu: list[float]
    """Seconds from the beginning to each epoch's end."""
    training: float
    """CPU seconds of a trial that was trained after it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """What a strategy makes of a supernet."""

    cells: tuple[dict[str, Any], ...]
    """The likeliest, of isomorphic ones the first."""
    cpu: float
    epochs: int
    skips: int
    """In the likeliest cell of the last epoch, were they not bounded."""
    correlation: float
    """Spearman's, of the log-probability of each architecture that could be derived with its regret."""


def main() -> None:
    """Trains and tells what the flags ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=sorted(SETTINGS), metavar="ROW", help="; ".join(SETTINGS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--searches", type=int, default=60, help="that are replayed")
    parser.add_argument("--known", action="store_true", help="train nothing")
    parser.add_argument("--runs", type=Path, default=Path("runs/differentiable"))
    flags = parser.parse_args()
    rows = {name: settings for name, settings in SETTINGS.items() if name in (flags.only or SETTINGS)}
    trained: dict[str, list[Training]] = {}
    for name, settings in rows.items():
        trained[name] = trainings(settings, 0 if flags.known else flags.seeds, flags.runs)[: flags.seeds]
    if flags.searches:
        tell(Table.read(), {name: found for name, found in trained.items() if found}, flags.searches)


def trainings(settings: Mapping[str, Any], seeds: int, folder: Path) -> list[Training]:
    """Those that are known, and as many more as are missing; settings that train alike share them."""
    strategy: Any = get_strategy("differentiable", settings)
    how = {**dataclasses.asdict(strategy.bilevel()), "partial": strategy.partial, "edges": strategy.edge_weights}
    path = folder / f"{'_'.join(str(value) for value in how.values())}.jsonl"
    found = [Training(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(len(found), seeds):
        found.append(_train(strategy, seed))
        with path.open("a") as file:
            file.write(json.dumps(dataclasses.asdict(found[-1])) + "\n")
        print(f"{path.name}, seed {seed}: {found[-1].cpu[-1]:.1f}, {found[-1].training:.2f} CPU-s", flush=True)
    return found


def _train(strategy: Differentiable, seed: int) -> Training:
    """To its last epoch, whatever the softmaxes say."""
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    import keras
    import tensorflow as tf

    from nasflow.models.bilevel import train_supernet

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    train, validation = _rows()
    _warm()
    started, cpu = time.process_time(), list[float]()
    relaxed = strategy.relaxation(landscape.space().relaxed)
    assert relaxed is not None

    def on_epoch(_: Any) -> bool:
        cpu.append(time.process_time() - started)
        return True

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
    one = _trial(train, validation, seed)
    keras.utils.clear_session()
    learned = [epoch.probabilities if epoch.judged is not None else None for epoch in history]
    return Training(seed=seed, probabilities=learned, cpu=cpu, training=one)


@functools.cache
def _warm() -> None:
    """What TensorFlow does once a process."""
    train, validation = _rows()
    _trial(train, validation, 1_000)


def _rows() -> Any:
    """Training and validation rows of the table."""
    from tests.benchmarks.nasbench_digits import generate

    return generate._splits()[:2]


def _trial(train: Any, validation: Any, seed: int) -> float:
    """CPU seconds of a training as a search has it, of a random architecture."""
    from nasflow.models.build import build
    from nasflow.models.fit import fit

    known = list(landscape.architectures().values())
    values = known[int(np.random.default_rng([2, seed]).integers(len(known)))]
    started, architecture = time.process_time(), landscape.space().architecture(values)
    model = build(architecture, INPUTS, OUTPUT)
    fit(model, architecture.recipe, train, output=OUTPUT, epochs=EPOCHS, seed=seed, validation=validation)
    return time.process_time() - started


def derive(strategy: Differentiable, relaxed: Relaxed, trained: Training, table: Table) -> Derived:
    """As `nasflow.search.preparation` does, epoch by epoch."""
    space, seen, epochs = landscape.space(), list[dict[str, list[float]]](), 0
    for probabilities in trained.probabilities:
        epochs += 1
        seen += [probabilities] if probabilities is not None else []
        if strategy.trusted(relaxed, seen)[1]:
            break
    believed = seen[(strategy.trusted(relaxed, seen)[0] or len(seen)) - 1]
    cells: dict[str, dict[str, Any]] = {}
    every: dict[int, float] = {}
    for place, (score, values) in enumerate(strategy.ranking(relaxed, believed)):
        every.setdefault(table.row(values), score)
        if len(cells) < _KEPT and place < _LOOKED_AT:
            cells.setdefault(space.architecture(values).identity, values)
    from scipy.stats import spearmanr

    regrets = _regrets(table)[list(every)]
    return Derived(
        cells=tuple(cells.values()),
        cpu=trained.cpu[epochs - 1],
        epochs=epochs,
        skips=skips_of_the_best(relaxed.parts, seen[-1]),
        correlation=float(spearmanr(list(every.values()), -regrets).statistic),
    )


def _regrets(table: Table) -> NDArray[np.float64]:
    """In test accuracy, percentage points, by architecture."""
    rows = np.arange(len(table.identities))[None]
    return replay.regret(table.final_test(), rows)[0]


def searched(cells: Sequence[Mapping[str, Any]], table: Table, seed: int, *, cost: int, **settings: Any) -> Any:
    """Row of what the search would have returned after each training's worth [150]; −1 while there is none."""
    strategy = dataclasses.replace(Differentiable(), derived=tuple(cells))
    presets = settings.get("presets", ())
    found = replay.search(strategy, table, seed, trainings=replay.TRAININGS - cost, **settings).returned
    before = found[: len(presets)]
    return np.array([*before, *([before[-1] if before else -1] * cost), *found[len(before) :]])


def tell(table: Table, trained: Mapping[str, Sequence[Training]], searches: int) -> None:
    """The tables, as Markdown."""
    regrets, relaxed = (
        _regrets(table),
        {name: _strategy(name).relaxation(landscape.space().relaxed) for name in trained},
    )
    one = float(np.mean([each.training for group in trained.values() for each in group]))
    print(f"\na training costs {one:.2f} CPU-s, the mean of {sum(map(len, trained.values()))} (shared ones twice)\n")
    derived = {
        name: [derive(_strategy(name), relaxed[name], each, table) for each in group] for name, group in trained.items()
    }
    costs = {name: math.ceil(float(np.mean([each.cpu for each in group])) / one) for name, group in derived.items()}
    details = []
    for name, group in derived.items():
        first = np.array([regrets[table.row(each.cells[0])] for each in group])
        top = np.array([regrets[[table.row(cell) for cell in each.cells[:TOP]]].mean() for each in group])
        shown = [f"{np.mean([each.cpu for each in group]):.1f}", str(costs[name])]
        shown += [_mean([each.epochs for each in group], 1), _mean([each.skips for each in group], 1)]
        shown += [_mean([each.correlation for each in group], 2)]
        details.append(
            [name, str(len(group)), *shown, _mean(first), f"{first.min():.1f}–{first.max():.1f}", _mean(top)]
        )
    columns = ["settings", "seeds", "CPU-s", "in trainings", "epochs", "skips", "ρ", "first cell", "range"]
    _print([*columns, f"mean of {TOP}"], details)

    seeds = range(searches)
    for given, title in (((), "No presets"), (landscape.space().presets(), "Presets first")):
        found = {f"`{name}`": [_returned(name, table, seed, given) for seed in seeds] for name in BESIDE}
        cells = [_random_cells(table, seed) for seed in seeds]
        found["no supernet: random cells, no `none`, 2 skips at most"] = [
            searched(cells[seed], table, seed, cost=0, presets=given) for seed in seeds
        ]
        compared = [name for name in derived if name in COMPARED]
        for name in compared:
            own = [derived[name][seed % len(derived[name])].cells for seed in seeds]
            found[name] = [searched(own[seed], table, seed, cost=costs[name], presets=given) for seed in seeds]
        budgets = {name: replay.regret(table.final_test(), np.stack(runs)) for name, runs in found.items()}
        marks = sorted({len(given) + costs[name] + TOP for name in compared} | set(MARKS))
        print(f"{title}, {searches} searches\n")
        _print(["strategy", *(f"at {mark}" for mark in marks)], _budget_rows(budgets, marks))
        chances = [
            [name, f"`{other}`", *_chances(budgets[name], budgets[f"`{other}`"], marks, len(derived[name]))]
            for name, other in itertools.product(compared, BESIDE)
        ]
        _print(["p that it is less / more", "than", *(f"at {mark}" for mark in marks)], chances)


def _strategy(name: str) -> Differentiable:
    found: Any = get_strategy("differentiable", SETTINGS[name])
    return found


def _returned(name: str, table: Table, seed: int, presets: Sequence[Mapping[str, Any]]) -> NDArray[np.int64]:
    return np.array(replay.search(get_strategy(name), table, seed, presets=presets).returned)


def _budget_rows(budgets: Mapping[str, Any], marks: Sequence[int]) -> list[list[str]]:
    return [
        [name, *(_mean(mine[:, mark - 1]) for mark in marks)]
        for name, mine in sorted(budgets.items(), key=lambda item: item[1][:, MARKS[0] - 1].mean())
    ]


def _chances(mine: Any, other: Any, marks: Sequence[int], supernets: int) -> list[str]:
    """Wilcoxon's p, one-sided in both directions; a pair is a supernet."""
    found = []
    for mark in marks:
        pairs = [
            (mine[place::supernets, mark - 1].mean(), other[place::supernets, mark - 1].mean())
            for place in range(supernets)
        ]
        one, two = np.array(pairs).T
        found.append(f"{smaller(one, two):.1g} / {smaller(two, one):.1g}")
    return found


def _random_cells(table: Table, seed: int) -> list[dict[str, Any]]:
    """What could be derived, in random order."""
    rng = np.random.default_rng([3, seed])
    points = [p for p in landscape.points() if "none" not in p.values() and list(p.values()).count("skip") <= 2]
    cells: dict[int, dict[str, Any]] = {}
    for place in rng.permutation(len(points)):
        cells.setdefault(table.row(points[place]), points[place])
    return list(cells.values())[:_KEPT]


def _mean(values: Any, digits: int = 2) -> str:
    values = np.asarray(values, float)
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{values.mean():.{digits}f} ± {error:.{digits}f}"


def _print(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for cells in (columns, ["---"] * len(columns), *rows):
        print("|", " | ".join(cells), "|")
    print(flush=True)


if __name__ == "__main__":
    main()
