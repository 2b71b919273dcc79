"""What early stopping across trials, zero-cost filters and second trainings do to a search: LEVERS.md.

    .venv/bin/python -m tests.benchmarks.nasbench_digits.levers --write

Each lever is replayed with the rules of `nasflow.search` and their defaults, on the same search seeds as the search
without it: differences are of pairs. Regret is in test accuracy, percentage points, as in RESULTS.md.
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.benchmarks.nasbench_digits import landscape, replay, whole
from tests.benchmarks.nasbench_digits.compare import smaller
from tests.benchmarks.nasbench_digits.landscape import EPOCHS, SEEDS, Table
from tests.benchmarks.nasbench_digits.replay import TRAININGS, Run

from nasflow.core.spec import FilterSection, StoppingSection
from nasflow.search.filtering import threshold
from nasflow.search.finalists import SecondLooks
from nasflow.search.stopping import chance_to_beat
from nasflow.strategies._base import Result
from nasflow.strategies.registry import get_strategy

STRATEGIES = ("random", "auto")
"""`auto` with presets first, as a study runs it."""
MARKS = (25, 50, 100, 150)
_WINDOW = 50
_LEAST_CHANCE = 0.05


def stop_rule(section: StoppingSection) -> Callable[[NDArray[np.float64], Sequence[Result]], int]:
    """`nasflow.search.stopping.Stopping` on a curve whose rest is known; for one search."""
    means = np.empty((0, EPOCHS))
    """Of each training over its first epochs; NaN after its last one."""

    def stop(curve: NDArray[np.float64], history: Sequence[Result]) -> int:
        nonlocal means
        curves = [result.curve for result in history if result.same_as is None]
        new = [np.cumsum(other) / np.arange(1, len(other) + 1) for other in curves[len(means) :]]
        rows = [np.pad(mean, (0, EPOCHS - len(mean)), constant_values=math.nan) for mean in new]
        means = np.vstack([means, *rows])
        if len(curves) < section.after:
            return EPOCHS
        whole = [other for other in curves if len(other) == EPOCHS]
        best = max((other[-1] for other in whole), default=math.inf)
        if section.median:
            behind = np.maximum.accumulate(curve) < np.nanmedian(means, axis=0)  # `below_median` of each beginning
            return int(np.argmax([*behind[:-1], True])) + 1
        for epoch in range(1, EPOCHS):
            begun = curve[:epoch].tolist()
            if section.curve and len(whole) >= section.after and chance_to_beat(best, begun, whole) < _LEAST_CHANCE:
                return epoch
        return EPOCHS

    return stop


def filter_rule(section: FilterSection, scores: NDArray[np.float64]) -> Callable[[int], bool]:
    """`nasflow.search.filtering.left_out`, for one search. `scores`: by row."""
    seen: list[int] = []
    trained = 0

    def keep(row: int) -> bool:
        nonlocal trained
        fine = trained < section.after
        if not fine:
            last = [float(scores[other]) for other in seen[-_WINDOW:]]
            fine = bool(scores[row] >= threshold(last, float(scores[row]), section.keep))
        seen.append(row)
        trained += fine
        return fine

    return keep


class Watched:
    """What one search trained, in order: rows, scores, and the epochs spent by then."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.scores: list[float] = []
        self.epochs: list[int] = []

    def __call__(self, row: int, result: Result) -> None:
        if result.same_as is None:
            self.rows.append(row)
            self.scores.append(float(result.score or 0.0))
            self.epochs.append((self.epochs[-1] if self.epochs else 0) + result.epochs)

    def best_after(self, trials: int, parameters: NDArray[np.int32]) -> int:
        """The row that would be returned after so many trainings, of those that had at least half of the epochs."""
        spent = np.diff([0, *self.epochs])
        ranks = [
            (2 * spent[place] >= EPOCHS, self.scores[place], -int(parameters[self.rows[place]]), -place)
            for place in range(min(trials, len(self.rows)))
        ]
        return self.rows[-max(ranks)[3]]


def run(table: Table, name: str, seed: int, **levers: Any) -> tuple[Run, Watched]:
    """One search with some of `replay.search`'s hooks."""
    watched = Watched()
    presets = landscape.space().presets() if name == "auto" else ()
    strategy = get_strategy(name, epochs=EPOCHS)
    found = replay.search(strategy, table, seed, presets=presets, watch=watched, **levers)
    return found, watched


def stopping(table: Table, seeds: Sequence[int]) -> list[str]:
    """What `search.stopping` saves, and costs."""
    kinds: dict[str, StoppingSection | None] = {
        "none": None,
        "median": StoppingSection(median=True),
        "curve": StoppingSection(curve=True),
    }
    final, trials = table.final_test(), 100
    lines = _head(
        "strategy", "stopping", "epochs a training", *(f"at {mark}" for mark in MARKS), f"after {trials} trainings", "p"
    )
    for name in STRATEGIES:
        control = None
        for kind, section in kinds.items():
            found = [run(table, name, seed, stop=section and stop_rule(section)) for seed in seeds]
            regrets = replay.regret(final, np.array([each.returned for each, _ in found]))
            epochs = statistics.fmean(w.epochs[-1] / len(w.epochs) for _, w in found)
            after = replay.regret(final, np.array([[w.best_after(trials, table.parameters)] for _, w in found]))[:, 0]
            control = regrets if control is None else control
            chance = "" if section is None else f"{smaller(regrets[:, -1], control[:, -1]):.1g}"
            cells = [f"{epochs:.1f}", *(_mean(regrets[:, mark - 1]) for mark in MARKS), _mean(after), chance]
            lines.append(f"| {name} | {kind} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    return lines


def filters(table: Table, seeds: Sequence[int], scores: dict[str, NDArray[np.float64]]) -> list[str]:
    """What `search.filter` costs or gains."""
    final = table.final_test()
    lines = _head("strategy", "filter", "keep", *(f"at {mark}" for mark in MARKS), "p at 25", "p at 150")
    for name in STRATEGIES:
        control = None
        for by, share in [("none", 0.0), *((by, share) for by in scores for share in (0.5,))]:
            runs = []
            for seed in seeds:
                keep = filter_rule(FilterSection(keep=share), scores[by]) if by in scores else None
                runs.append(run(table, name, seed, keep=keep)[0].returned)
            regrets = replay.regret(final, np.array(runs))
            control = regrets if control is None else control
            chances = [
                "" if by == "none" else f"{smaller(regrets[:, mark - 1], control[:, mark - 1]):.1g}"
                for mark in (25, 150)
            ]
            cells = [f"{share:.0%}" if by in scores else "", *(_mean(regrets[:, mark - 1]) for mark in MARKS), *chances]
            lines.append(f"| {name} | {by} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    return lines


def second_looks(table: Table, seeds: Sequence[int]) -> list[str]:
    """Whether the last trainings are better spent on the best architectures once more, with the other two seeds each,
    of which the one with the best mean is returned, than on new ones."""
    final, known = table.final_test(), table.final_validation()
    lines = _head(
        "strategy", "budget", "all on new ones", *(f"best {count}" for count in (2, 3, 5, 10)), "p", "perfect"
    )
    for name in STRATEGIES:
        found = [run(table, name, seed)[1] for seed in seeds]
        for budget in (50, TRAININGS):
            columns: dict[int, NDArray[np.float64]] = {}
            for count in (1, 2, 3, 5, 10):
                trials = budget - (SEEDS - 1) * count if count > 1 else budget
                chosen = [_once_more(each, trials, count, known, table.parameters) for each in found]
                columns[count] = replay.regret(final, np.array([chosen]).T)[:, 0]
            perfect = [max(each.rows[:budget], key=final.__getitem__) for each in found]
            best = min((2, 3, 5, 10), key=lambda count: float(columns[count].mean()))
            cells = [
                str(budget),
                *(_mean(column) for column in columns.values()),
                f"{smaller(columns[best], columns[1]):.1g}",
                _mean(replay.regret(final, np.array([perfect]).T)[:, 0]),
            ]
            lines.append(f"| {name} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
    return lines


def _once_more(
    watched: Watched, trials: int, count: int, means: NDArray[np.float64], parameters: NDArray[np.int32]
) -> int:
    """Of the best `count` of the first trainings the one with the best mean of its three seeds."""
    places = range(min(trials, len(watched.rows)))
    order = sorted(places, key=lambda place: (-watched.scores[place], parameters[watched.rows[place]], place))
    rows = [watched.rows[place] for place in order[:count]]
    return rows[0] if count == 1 else max(rows, key=means.__getitem__)


def whole_searches(table: Table, seeds: Sequence[int]) -> list[str]:
    """The same through the engine, ledger and selection of nasflow (`whole`), by `search.finalists`. What is returned
    is the best preset unless another leads by a standard error; "by mean" is without that rule."""
    final = table.final_test()
    lines = _head("strategy", "budget", "finalists", "returned", "p", "by mean", "perfect")
    for name in STRATEGIES:
        for budget, places in ((20, (2,)), (30, (2,)), (50, (2, 3, 5)), (100, (4,)), (TRAININGS, (3, 5, 8))):
            control = None
            for finalists in (0, *places):
                looks = SecondLooks(finalists=finalists)
                found = [
                    whole.search(name, table, seed, trainings=budget, looks=looks, presets=name == "auto")
                    for seed in seeds
                ]
                assert all(each.trained == budget for each in found)
                regrets = {
                    kind: replay.regret(final, np.array([getattr(each, kind) for each in found]))
                    for kind in ("returned", "by_score", "perfect")
                }
                control = regrets["returned"] if control is None else control
                chance = f"{smaller(regrets['returned'], control):.1g}" if finalists else ""
                cells = [str(finalists or "none"), _mean(regrets["returned"]), chance, _mean(regrets["by_score"])]
                lines.append(f"| {name} | {budget} | {' | '.join(cells)} | {_mean(regrets['perfect'])} |")
                print(lines[-1], flush=True)
    return lines


def _head(*names: str) -> list[str]:
    return [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]


def _mean(values: NDArray[np.float64]) -> str:
    return f"{values.mean():.2f} ± {values.std(ddof=1) / math.sqrt(len(values)):.2f}"


def scores_of(table: Table, proxies: Path) -> dict[str, NDArray[np.float64]]:
    """What a filter may go by, of each row: parameters, and synflow where `tests.benchmarks.proxies` has computed it of
    every architecture."""
    import json

    found = {"parameters": table.parameters.astype(np.float64)}
    if proxies.exists():
        lines = [json.loads(line) for line in proxies.read_text().splitlines()]
        values = {line["identity"]: line["values"] for line in lines if line["seed"] == 0}
        if all(identity in values for identity in table.identities.tolist()):
            column = [values[identity]["synflow"] for identity in table.identities.tolist()]
            found["synflow"] = np.array([-np.inf if value is None else value for value in column])
    return found


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--proxies", type=Path, default=Path("runs/proxies.jsonl"))
    parser.add_argument("--only", nargs="*", choices=("stopping", "filter", "second", "whole"), default=[])
    parser.add_argument("--write", action="store_true", help="write LEVERS.md, too; needs all of them")
    given = parser.parse_args()
    table, seeds = Table.read(landscape.TABLE), range(given.seeds)
    parts: dict[str, tuple[str, Callable[[], list[str]]]] = {
        "stopping": ("`search.stopping`", lambda: stopping(table, seeds)),
        "filter": ("`search.filter`", lambda: filters(table, seeds, scores_of(table, given.proxies))),
        "second": ("Second looks", lambda: second_looks(table, seeds)),
        "whole": ("Second looks as the search takes them", lambda: whole_searches(table, seeds)),
    }
    lines = ["# Levers", "", f"Written by `levers.py --seeds {given.seeds}`; see README.md.", ""]
    for name in given.only or parts:
        title, measure = parts[name]
        started = time.process_time()
        lines += [f"## {title}", "", *measure(), ""]
        print(f"{name}: {time.process_time() - started:.0f} CPU-s", flush=True)
    if given.write and not given.only:
        Path(__file__).with_name("LEVERS.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
