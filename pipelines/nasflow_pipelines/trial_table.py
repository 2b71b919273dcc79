"""What `nasflow trials` prints: rows chosen by conditions, in an order, as columns, JSON or CSV."""

import csv
import dataclasses
import difflib
import io
import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from nasflow.core.errors import UserError
from nasflow.core.metrics import maximised
from nasflow.search.looked import looked_at
from nasflow.search.record import Record
from nasflow.search.trials import first_line, generations, rung
from nasflow.search.trials import rows as full_rows
from nasflow_pipelines.studies import Found
from nasflow_pipelines.trial_columns import COLUMNS, STATUSES

_SHOWN = (
    "id",
    "status",
    "score",
    "mean",
    "spread",
    "rung",
    "epochs",
    "parameters",
    "cpu_seconds",
    "parents",
    "strategy",
    "reason",
)
_ALWAYS = ("id", "status", "score", "parameters", "strategy")
_GENE = "values."
_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = MappingProxyType(
    {
        ">=": operator.ge,
        "<=": operator.le,
        "!=": operator.ne,
        "==": operator.eq,
        ">": operator.gt,
        "<": operator.lt,
        "=": operator.eq,
        "~": operator.contains,
    }
)
_CONDITION = re.compile(r"\s*(.+?)\s*(>=|<=|!=|==|>|<|=|~)\s*(.*?)\s*")


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One trial: its record, and its columns by name; None where it has none."""

    record: Record
    columns: dict[str, Any]


class Table:
    """The trials of a search as rows."""

    def __init__(self, found: Found) -> None:
        self.found = found
        born = generations(found.records)
        self._looks = looked_at(found.records)
        self.rows = [Row(record, self._columns(record, born[record.trial_id])) for record in found.records]
        self.genes = tuple(dict.fromkeys(name for record in found.records for name in record.values))
        """In the order in which the space declares them, as far as trials had them."""
        more = dict.fromkeys(name for record in found.records for name in (*record.metrics, *record.costs))
        self.measures = tuple(name for name in more if name not in COLUMNS)

    def select(self, conditions: Sequence[str], statuses: Sequence[str] = ()) -> None:
        """Keeps the rows for which all conditions hold, `NAME OPERATOR VALUE` each. A trial that has no such value
        never does.

        Raises:
            UserError: a condition that cannot be read, or about a column that no trial has.
        """
        tests = [self._test(condition) for condition in conditions]
        self.rows = [
            row
            for row in self.rows
            if (not statuses or row.columns["status"] in statuses) and all(test(row) for test in tests)
        ]

    def order(self, sort: str | None, top: int | None) -> None:
        """Sorts by a column, ascending, descending with a leading ``-``; `score` and `mean`: the best first. Rows
        without a value come last. `top`: only the first so many; without `sort` those that the search ranks highest:
        finalists by the mean of their looks, then the others by their score, then single looks.

        Raises:
            UserError: no such column, or the best first where nobody knows which is better.
        """
        wanted = sort or ("score" if top is not None else None)
        if wanted is not None:
            name, falling = wanted.removeprefix("-"), wanted.startswith("-")
            read = self._reader(name, "--sort")
            if name in ("score", "mean"):
                falling = falling != self._best_is_highest()
            known = [row for row in self.rows if read(row) is not None]
            known.sort(key=lambda row: _sortable(read(row)), reverse=falling)
            self.rows = [*known, *(row for row in self.rows if read(row) is None)]
            if sort is None:
                means = sorted(
                    (row for row in known if row.columns["mean"] is not None), key=self._mean, reverse=falling
                )
                looks = [row for row in known if row.record.look_of is not None]
                apart = {id(row) for row in (*means, *looks)}
                self.rows = [*means, *(row for row in self.rows if id(row) not in apart), *looks]
        self.rows = self.rows[:top]

    def text(self, columns: Sequence[str], width: int | None) -> str:
        """Aligned columns, numbers to the right. `columns`: which; none: those that say something. `width`: of the
        terminal, at which the last column is cut."""
        names = [name for given in columns for name in (self.genes if given == "genes" else (given,))]
        names = names or [
            n for n in _SHOWN if n in _ALWAYS or any(row.columns[n] not in (None, "") for row in self.rows)
        ]
        readers = [self._reader(name, "--columns") for name in names]
        cells = [[_cell(read(row)) for read in readers] for row in self.rows]
        numbers = [any(isinstance(read(row), int | float) for row in self.rows) for read in readers]
        widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
        lines = []
        for line in (names, *cells):
            places = zip(line, widths, numbers, strict=True)
            text = "  ".join(cell.rjust(size) if right else cell.ljust(size) for cell, size, right in places).rstrip()
            lines.append(text if width is None or len(text) <= width else f"{text[: max(1, width - 1)]}…")
        return "\n".join(lines)

    def json(self) -> str:
        """A list of everything that is known of each trial, as in ``trials.json``, with its `rung` and `strategy`."""
        found, metric = self.found, self.found.about.metric if self.found.about else "accuracy"
        full = {row["trial_id"]: row for row in full_rows(found.records, metric)}
        if found.about is None:
            full = {trial_id: {**row, "gain": None} for trial_id, row in full.items()}
        told = [
            {
                **full[row.record.trial_id],
                "status": row.columns["status"],
                "rung": row.columns["rung"],
                "strategy": row.columns["strategy"],
            }
            for row in self.rows
        ]
        return json.dumps(told, indent=1, allow_nan=False)

    def csv(self) -> str:
        """All columns, measures and genes, unrounded; a gene that has a column's name is ``values.NAME``."""
        genes = {gene if gene not in (*COLUMNS, *self.measures) else f"{_GENE}{gene}": gene for gene in self.genes}
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*COLUMNS, *self.measures, *genes])
        for row in self.rows:
            own = [row.columns[name] for name in COLUMNS]
            measured = [self._measure(row, name) for name in self.measures]
            writer.writerow([*own, *measured, *(row.record.values.get(gene) for gene in genes.values())])
        return out.getvalue().rstrip("\n")

    def headline(self) -> str:
        """What search this is, and how far it got."""
        found, about = self.found, self.found.about
        count = dict.fromkeys(STATUSES, 0)
        for record in found.records:
            count[self._status(record)] += 1
        counts = ", ".join(f"{number} {status}" for status, number in count.items() if number)
        what = f"{about.strategy} over {about.space}, {about.metric}: " if about else ""
        best = ""
        if about and (scored := [r for r in found.records if r.score is not None and r.look_of is None]):
            top = (max if maximised(about.metric) else min)(scored, key=lambda r: r.score or 0.0)
            best = f"; best {_cell(top.score)} by trial {top.trial_id}"
        if again := sum(record.look_of is not None for record in found.records):
            counts += f" (of all {again} second looks)"
        if about and (means := {name: each for name, each in self._looks.items() if each.mean is not None}):
            name = (max if maximised(about.metric) else min)(means, key=lambda name: means[name].mean or 0.0)
            best += f"; best mean of {means[name].compared} trainings {_cell(means[name].mean)} by trial {name}"
        ended = {
            "finished": "",
            "running": " (the search is running)",
            "stopped": " (stopped before its end: the same `nasflow run` goes on with it)",
            "unfinished": " (not finished)",
        }[found.state]
        older = f"; older searches beside it: {found.others}" if found.others else ""
        return f"{what}{counts or 'no trial yet'}{best}{ended}{older}"

    def _columns(self, record: Record, generation: int) -> dict[str, Any]:
        strategy = self.found.about.strategy if self.found.about else "strategy"
        proposed = {"preset": "preset", "earlier": "earlier study", "shrunk": f"{strategy}, shrunk"}
        proposed |= {"supernet": f"{strategy}, of the supernet", "look": f"{record.look_of} once more"}
        looked = self._looks.get(record.trial_id)
        return {
            "id": record.trial_id,
            "status": self._status(record),
            "score": record.score,
            "mean": None if looked is None else looked.mean,
            "spread": None if looked is None else looked.spread,
            "trainings": None if looked is None else len(looked.scores),
            "rung": rung(record),
            "epochs": record.epochs or None,
            "parameters": record.parameters or None,
            "flops": record.flops or None,
            "cpu_seconds": round(record.cpu_seconds, 1) or None,
            "seconds": round(record.seconds, 1) or None,
            "generation": generation,
            "parents": " × ".join(record.parents) or None,
            "strategy": proposed.get(record.origin, strategy),
            "architecture": record.architecture_id or None,
            "reason": first_line(record.message) or None,
        }

    def _status(self, record: Record) -> str:
        """A trial that no process works at has stopped."""
        going = self.found.state in ("running", "unfinished")
        return record.status if record.status != "running" or going else "stopped"

    def _measure(self, row: Row, name: str) -> Any:
        return row.record.metrics.get(name, row.record.costs.get(name))

    def _reader(self, name: str, option: str) -> Callable[[Row], Any]:
        """How a column, a measure or a gene is read from a row."""
        if name in COLUMNS:
            return lambda row: row.columns[name]
        if name in self.measures:
            return lambda row: self._measure(row, name)
        gene = name.removeprefix(_GENE)
        if gene in self.genes:
            return lambda row: row.record.values.get(gene)
        known = [*COLUMNS, *self.measures, *self.genes]
        close = difflib.get_close_matches(name, known, n=1)
        meant = f"did you mean {close[0]!r}? " if close else ""
        raise UserError(f"{option}: no column {name!r}; {meant}There are: {', '.join(known)}")

    def _test(self, condition: str) -> Callable[[Row], bool]:
        matched = _CONDITION.fullmatch(condition)
        if matched is None:
            operators = " ".join(dict.fromkeys(_OPERATORS))
            raise UserError(f"--where: cannot read {condition!r}; write NAME OPERATOR VALUE with one of {operators}")
        name, sign, text = matched.groups()
        read, compare, wanted = self._reader(name, "--where"), _OPERATORS[sign], _number(text)
        if sign in (">", "<", ">=", "<=") and isinstance(wanted, str):
            raise UserError(f"--where: {condition!r}: {sign} needs a number, got {text!r}; use = or ~ (contains)")

        def test(row: Row) -> bool:
            value = read(row)
            if value is None:
                return False
            if sign == "~" or isinstance(value, str):  # trial ids are texts that look like numbers
                return sign in ("~", "=", "==", "!=") and compare(str(value), text)
            return compare(value, wanted)

        return test

    @staticmethod
    def _mean(row: Row) -> float:
        return float(row.columns["mean"])

    def _best_is_highest(self) -> bool:
        if self.found.about is None:
            raise UserError(
                f"{self.found.uri}: an older nasflow wrote this ledger, which does not say whether more is better; "
                "sort by another column, or finish the search with this version"
            )
        return maximised(self.found.about.metric)


def _sortable(value: Any) -> tuple[int, Any]:
    """Numbers before texts: a gene's values are of one kind, but nobody promises it."""
    return (0, value) if isinstance(value, int | float) else (1, str(value))


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.5g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
