"""The report's answer to: why did trials fail?"""

import collections
import re
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from nasflow.core import html
from nasflow.search.record import Record
from nasflow.search.trials import first_line

_MOST_GROUPS = 20
_MOST_NAMED = 5
_NUMBER = re.compile(r"\d[\d,._]*(e[+-]?\d+)?")
_COLUMNS = ["status", "trials", "of them", "what the first one said"]


def sections(records: Sequence[Record]) -> list[tuple[str, Markup]]:
    """Trials without a score, by what they said; nothing where all have one."""
    rows = reasons(records)
    return [("Trials without a score", html.table(_COLUMNS, rows))] if rows else []


def reasons(records: Sequence[Record]) -> list[list[Any]]:
    """[status, how many, which, the first one's message], most frequent first. Messages that differ only in their
    numbers are of one kind; the last lines count, where a traceback ends with what went wrong."""
    groups: dict[tuple[str, str], list[Record]] = collections.defaultdict(list)
    for record in records:
        if record.status in ("failed", "infeasible"):
            groups[record.status, _NUMBER.sub("#", said(record))].append(record)
    ordered = sorted(groups.values(), key=len, reverse=True)
    return [
        [members[0].status, len(members), _named(members), said(members[0]) or "nothing"]
        for members in ordered[:_MOST_GROUPS]
    ]


def said(record: Record) -> str:
    """One line of its message, 300 characters at most."""
    message = record.message
    if message.startswith("Traceback"):
        message = message.strip().splitlines()[-1]
    return first_line(message)[:300]


def _named(members: Sequence[Record]) -> str:
    left = len(members) - _MOST_NAMED
    return ", ".join(record.trial_id for record in members[:_MOST_NAMED]) + (f" and {left} more" if left > 0 else "")
