"""The report's answer to: how did the search come to this architecture? Edit by edit, from the first ancestor."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from nasflow.core import html
from nasflow.search.record import Record

_MOST_EDITS = 8
_UNFOLDED = 12


def sections(records: Sequence[Record], order: Sequence[Record], metric: str) -> list[tuple[str, Markup]]:
    """The line of the returned trial; of the best one that has parents, where the returned one has none."""
    bred = next((record for record in order if record.parents), None)
    if bred is None:
        return []
    rows = [[place, *row] for place, row in enumerate(edits(line(records, bred), records))]
    if order[0] is bred:
        heading, told = "How it came about", "From its first ancestor to the trial that is returned."
    else:
        heading = "How the best descendant came about"
        told = (
            f"The trial that is returned has no parents; this is the line of trial {bred.trial_id}, the best that has."
        )
    told += " With two parents the line follows the one that it shares more choices with."
    table = html.table(["generation", "trial", metric, "parameters", "what changed"], rows)
    if len(rows) > _UNFOLDED:
        table = html.folded(f"{len(rows)} generations", table)
    return [(heading, html.paragraph(told) + table)]


def line(records: Sequence[Record], last: Record) -> list[Record]:
    """From the first ancestor to `last`; of several parents the most alike, the first among equals."""
    known = {record.trial_id: record for record in records}
    found, seen = [last], {last.trial_id}
    while parents := [known[p] for p in found[0].parents if p in known and p not in seen]:
        nearest = min(parents, key=lambda parent: len(_changes(parent.values, found[0].values)))
        found.insert(0, nearest)
        seen.add(nearest.trial_id)
    return found


def edits(ancestors: Sequence[Record], records: Sequence[Record]) -> list[list[Any]]:
    """Trial, score, parameters, and what it changed of the one before."""
    known = {record.trial_id for record in records}
    rows: list[list[Any]] = []
    for place, record in enumerate(ancestors):
        if place == 0:
            told = {"preset": "a preset", "earlier": "of an earlier study"}.get(record.origin, "the first of its line")
        else:
            before = ancestors[place - 1]
            told = ", ".join(_shown(_changes(before.values, record.values)))
            if not told:
                told = f"the same, for {record.epochs} epochs" if record.epochs != before.epochs else "the same"
            if others := [p for p in record.parents if p in known and p != before.trial_id]:
                told += f"; also from {', '.join(others)}"
        rows.append([record.trial_id, record.score, record.parameters or None, told])
    return rows


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    names = [*before, *(name for name in after if name not in before)]
    return [
        f"{name} {_plain(before.get(name))} → {_plain(after.get(name))}"
        for name in names
        if before.get(name) != after.get(name)
    ]


def _shown(changes: list[str]) -> list[str]:
    left = len(changes) - _MOST_EDITS
    return changes if left <= 0 else [*changes[:_MOST_EDITS], f"and {left} more"]


def _plain(value: Any) -> str:
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
