"""The findings as a list: the weightiest first, each with what to do about it."""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from nasflow.core import html
from nasflow.preprocess import sparklines

_SHOWN = 5
"""Findings of one kind and remedy that are shown; the rest is folded away."""


def listed(found: Sequence[Mapping[str, Any]], anchors: Mapping[str, str]) -> Markup:
    """A definition list. Findings that follow each other and share their remedy share its line; `anchors` are ids of
    the columns in the table below."""
    if not found:
        return html.paragraph("Nothing out of the ordinary.")
    groups = itertools.groupby(
        found, key=lambda one: (one["severity"], one["kind"], one["remedy"], bool(one["switch"]))
    )
    return Markup('<dl class="findings">{}</dl>').format(
        Markup("").join(_group(list(group), anchors) for _, group in groups)
    )


def _group(group: list[Mapping[str, Any]], anchors: Mapping[str, str]) -> Markup:
    lines = [_line(one, anchors) for one in group]
    body = Markup("").join(lines[:_SHOWN])
    if more := lines[_SHOWN:]:
        body += Markup("<dd><details><summary>and {} more</summary><dl>{}</dl></details></dd>").format(
            f"{len(more):,}", Markup("").join(more)
        )
    switch = Markup(" In the YAML: <code>{}</code>.").format(joined(group)) if group[0]["switch"] else ""
    if group[0]["remedy"] or switch:
        body += Markup("<dd>{}{}</dd>").format(group[0]["remedy"], switch)
    return body


def joined(group: Sequence[Mapping[str, Any]]) -> str:
    """One switch for all: lists of columns become one list.

    >>> joined([{"switch": "data.ignore: [a]"}, {"switch": "data.ignore: [b]"}])
    'data.ignore: [a, b]'
    >>> joined([{"switch": "data.optimise.drop_leaks: true"}] * 2)
    'data.optimise.drop_leaks: true'
    """
    switches = list(dict.fromkeys(one["switch"] for one in group))
    lists = [re.fullmatch(r"(?P<key>[\w.]+): \[(?P<item>.*)\]", switch, re.DOTALL) for switch in switches]
    if len(switches) == 1 or not all(lists):
        return ", ".join(switches)
    items = [match["item"] for match in lists if match]
    more = ", …" if len(items) > _SHOWN else ""
    return f"{lists[0]['key'] if lists[0] else ''}: [{', '.join(items[:_SHOWN])}{more}]"


def _line(one: Mapping[str, Any], anchors: Mapping[str, str]) -> Markup:
    text: Any = one["text"]
    anchor = anchors.get(one["column"] or "")
    quoted = repr(one["column"])
    if anchor is not None and quoted in text:
        before, _, after = text.partition(quoted)
        text = Markup('{}<a href="#{}">{}</a>{}').format(before, anchor, quoted, after)
    return Markup("<dt>{} {}</dt>").format(sparklines.badge(one["severity"], one["severity"]), text)
