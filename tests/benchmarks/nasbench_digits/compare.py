"""Every strategy against random search on the table: regret against budget, as Markdown.

    .venv/bin/python -m tests.benchmarks.nasbench_digits.compare --write              # RESULTS.md
    .venv/bin/python -m tests.benchmarks.nasbench_digits.compare --only evolution tpe --seeds 20
    .venv/bin/python -m tests.benchmarks.nasbench_digits.compare --first-seed 1000 --runs runs/choosing

What each search returned is kept in RUNS, a file a row of the result, written now and then: a row goes on where it was
stopped, unless the table is another, so delete those that a change of a strategy concerns. `--known` runs nothing and
shows what is there. Defaults are chosen on seeds from 1000 on, and reported on seeds from 0 on.
"""

import argparse
import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.benchmarks.nasbench_digits import landscape, peers, replay, study
from tests.benchmarks.nasbench_digits.landscape import EPOCHS, TABLE, Table
from tests.benchmarks.nasbench_digits.replay import TRAININGS, Run

from nasflow.strategies.registry import STRATEGIES, get_strategy

MARKS = (10, 25, 50, 100, 150)
CONTROL = "random"
_WRITTEN = 10.0
"""CPU-seconds between two writes of a file."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the result."""

    search: Callable[[Table, int], Run]
    """(table, search seed) -> how it went."""
    seeds: int = 200
    """Fewer for the slow ones."""
    trainings: int = TRAININGS
    """Of a search."""


def rows() -> dict[str, Row]:
    """All of them, by the name that the result shows."""
    found = {name: Row(search=_ours(name), seeds=_SEEDS.get(name, 200)) for name in STRATEGIES if name not in _TRAINS}
    found["hyperband"] = Row(search=_keras_tuner("Hyperband", as_nasflow=True))
    found["bayesian"] = Row(search=lambda table, seed: study.search("bayesian", table, seed), seeds=20)
    found["predictor, genes alone"] = Row(search=_ours("predictor", graphs=False), seeds=_SEEDS["predictor"])
    presets = landscape.space().presets()
    found |= {f"{name}, presets first": Row(search=_ours(name, presets=presets)) for name in (CONTROL, "auto")}
    found[f"{CONTROL}, each point trained"] = Row(search=_ours(CONTROL, by_identity=False))
    for kind in peers.KERAS_TUNER:
        slow = _GAUSSIAN if kind == "BayesianOptimization" else {}
        found[f"Keras Tuner {kind}"] = Row(
            search=_keras_tuner(kind, trainings=slow.get("trainings", TRAININGS)), **slow
        )
    found["Optuna TPESampler"] = Row(search=peers.optuna_search)
    return found


_SEEDS: Mapping[str, int] = {"predictor": 50, "hybrid": 100}
_TRAINS = ("differentiable",)
"""Cannot be replayed: it trains a network of its own."""
_GAUSSIAN: Mapping[str, Any] = {"seeds": 20, "trainings": 50}
"""Keras Tuner's Gaussian process takes seconds a suggestion."""


def _ours(name: str, *, graphs: bool = True, **settings: Any) -> Callable[[Table, int], Run]:
    def search(table: Table, seed: int) -> Run:
        # `continue` is what the table can answer: all trainings have one schedule, over all epochs.
        own = {"promote": "continue"} if name in ("asha", "pasha") else {}
        facts: dict[str, Any] = {"epochs": EPOCHS}
        if graphs and name in ("predictor", "hybrid"):  # as a study does
            known = landscape.graphs()
            facts["graph"] = lambda values: known[table.row(values)]
        return replay.search(get_strategy(name, own, **facts), table, seed, **settings)

    return search


def _keras_tuner(kind: str, **settings: Any) -> Callable[[Table, int], Run]:
    return lambda table, seed: peers.keras_tuner_search(kind, table, seed, **settings)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a row's searches returned."""

    returned: NDArray[np.int64]
    """[seeds, trainings]; see `Run.returned`."""
    milliseconds: float
    """CPU, of a suggestion."""
    architectures: float
    """Trained, on average."""


def runs(
    name: str, row: Row, table: Table, seeds: Sequence[int], folder: Path, *, known_only: bool = False
) -> Found | None:
    """Read from the folder, or made now and kept there. None: not known, and not to be made."""
    path = folder / f"{name.replace(' ', '_').replace(',', '')}.json"
    digest = hashlib.sha256(table.validation.tobytes()).hexdigest()[:12]
    made: list[Mapping[str, Any]] = []
    if path.exists():
        known = json.loads(path.read_text())
        if known["table"] == digest and known["seeds"][: len(seeds)] == list(seeds)[: len(known["seeds"])]:
            made = known["runs"][: len(seeds)]
    left = [] if known_only else seeds[len(made) :]
    started = written = time.process_time()
    folder.mkdir(parents=True, exist_ok=True)
    for seed in left:
        made.append(dataclasses.asdict(row.search(table, seed)))
        if time.process_time() - written > _WRITTEN or seed == seeds[-1]:
            path.write_text(json.dumps({"table": digest, "seeds": list(seeds)[: len(made)], "runs": made}))
            written = time.process_time()
    if left:
        print(f"{name}: {len(left)} more seeds, {time.process_time() - started:.1f} CPU-s", flush=True)
    return _found(made) if made else None


def _found(made: Sequence[Mapping[str, Any]]) -> Found:
    return Found(
        returned=np.array([run["returned"] for run in made]),
        milliseconds=1000 * sum(run["suggesting_seconds"] for run in made) / max(1, sum(run["points"] for run in made)),
        architectures=float(np.mean([run["architectures"] for run in made])),
    )


def result(found: Mapping[str, Found], final: NDArray[np.float64]) -> list[str]:
    """A Markdown table of regret in percentage points, best first by the longest budget that all have.

    p: Wilcoxon's signed-rank test, one-sided, that a row's regret is less than that of `random` on the same seeds.
    """
    regrets = {name: replay.regret(final, row.returned) for name, row in found.items()}
    lines = [
        f"| strategy | seeds | {' | '.join(f'at {mark}' for mark in MARKS)} | p at 50 | p at 150 | ms |",
        "| --- |" + " --- |" * (len(MARKS) + 4),
    ]
    order = sorted(regrets, key=lambda name: (regrets[name].shape[1] < MARKS[-1], regrets[name][:, -1].mean()))
    for name in order:
        mine, control = regrets[name], regrets[CONTROL]
        cells = [_mean(mine[:, mark - 1]) if mark <= mine.shape[1] else "" for mark in MARKS]
        chances = [
            f"{smaller(mine[:, mark - 1], control[: len(mine), mark - 1]):.1g}"
            if name != CONTROL and mark <= mine.shape[1]
            else ""
            for mark in (50, 150)
        ]
        lines.append(f"| {name} | {len(mine)} | {' | '.join([*cells, *chances])} | {found[name].milliseconds:.1f} |")
    return lines


def smaller(mine: NDArray[np.float64], control: NDArray[np.float64]) -> float:
    """The probability of such differences, were neither better: Wilcoxon 1945, one-sided, ties split."""
    from scipy.stats import wilcoxon

    if np.array_equal(mine, control):
        return 1.0
    return float(wilcoxon(mine, control, alternative="less", zero_method="zsplit").pvalue)


def _mean(values: NDArray[np.float64]) -> str:
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{values.mean():.2f} ± {error:.2f}"


def main() -> None:
    """Runs what the flags ask for, prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--runs", type=Path, default=Path("runs/nasbench_replays"))
    parser.add_argument("--only", nargs="*", choices=sorted(rows()), metavar="ROW", help="; ".join(rows()))
    parser.add_argument("--seeds", type=int, help="at most so many of each")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--known", action="store_true", help="run nothing")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md, too")
    parser.add_argument("--optuna", type=Path, default=Path("runs/optuna"), help="where it is installed, if it is not")
    given = parser.parse_args()
    table, every = Table.read(given.table), rows()
    names = list(dict.fromkeys([CONTROL, *(given.only or every)]))
    if "Optuna TPESampler" in names and not given.known:
        peers.optuna_from(given.optuna)
    found: dict[str, Found] = {}
    for name in names:
        count = min(every[name].seeds, given.seeds or every[name].seeds)
        seeds = range(given.first_seed, given.first_seed + count)
        made = runs(name, every[name], table, seeds, given.runs, known_only=given.known)
        if made is not None:
            found[name] = made
    lines = ["# Results", "", "Written by `compare.py`; see README.md.", "", *statistics(table)]
    for title, final in (("Test", table.final_test()), ("Validation", table.final_validation())):
        lines += ["", f"## Regret in {title.lower()} accuracy", "", *result(found, final)]
    text = "\n".join(lines) + "\n"
    print(text)
    if given.write:
        Path(__file__).with_name("RESULTS.md").write_text(text)


def statistics(table: Table) -> list[str]:
    """What the table is like, as Markdown."""
    trained = table.trained
    validation, test = table.validation[trained, :, -1].astype(float), table.test[trained, :, -1].astype(float)
    final, best = test.mean(axis=1), int(table.final_test().argmax())
    one = np.corrcoef(validation[:, 0], final)[0, 1]
    ranks = [_spearman(table.validation[trained, 0, epoch - 1], final) for epoch in (1, 4, 8, 12)]
    lines = f"""\
{trained.sum():,} of {len(trained):,} architectures trained, which {len(table.row_of_point):,} points mean.
Test accuracy, mean of three seeds: best {final.max():.4f}, median {np.median(final):.4f}, worst {final.min():.4f}; \
the best has {table.parameters[best]:,} parameters.
Validation accuracy: standard deviation {validation.mean(axis=1).std():.3f} between architectures, \
{np.sqrt(validation.var(axis=1, ddof=1).mean()):.3f} between seeds of one.
Correlation of validation and test accuracy: {np.corrcoef(validation.mean(axis=1), final)[0, 1]:.3f} of the means of \
three seeds; {one:.3f} of one seed's validation with the mean test.
Spearman's correlation of one seed's validation after 1, 4, 8 and 12 epochs with the final mean test: \
{", ".join(f"{rank:.2f}" for rank in ranks)}.
Trained with {", ".join(f"{name} {value}" for name, value in table.about.items())}.""".splitlines()
    if not trained.all():
        lines.insert(
            1, "**Not finished**: the others have the curves of the trained one with the fewest edges changed."
        )
    return [f"- {line}" for line in lines]


def _spearman(one: NDArray[Any], other: NDArray[Any]) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(one, other).statistic)


if __name__ == "__main__":
    main()
