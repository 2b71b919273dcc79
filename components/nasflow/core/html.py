"""Self-contained HTML reports: one page, no script, no network. Pictures are inline SVG drawn by matplotlib."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from markupsafe import Markup

from nasflow.core.version import VERSION

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light; --ink: #1c2430; --soft: #5c6675; --line: #dfe4ea; --accent: #1f6feb; --band: #f6f8fa; }
body { font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: var(--ink); margin: 0 auto; max-width: 68rem; padding: 2rem 1.5rem 4rem; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem; }
p.lead { color: var(--soft); margin: 0 0 1rem; } .scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--soft); } td.number { text-align: right; } tr:hover td { background: var(--band); }
ul.facts { list-style: none; display: flex; flex-wrap: wrap; gap: .75rem; padding: 0; }
ul.facts li { background: var(--band); border: 1px solid var(--line); border-radius: .5rem; padding: .5rem .9rem; min-width: 7rem; }
ul.facts b { display: block; font-size: 1.2rem; overflow-wrap: anywhere; } ul.facts span { color: var(--soft); font-size: .85rem; }
figure { margin: .5rem 0; } figure svg { max-width: 100%; height: auto; } figcaption { color: var(--soft); font-size: .9rem; }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
</style></head><body>
<h1>{{ title }}</h1><p class="lead">{{ lead }}</p>
{% for section in sections %}<section><h2>{{ section.title }}</h2>{{ section.body }}</section>
{% endfor %}<footer>nasflow {{ version }}</footer></body></html>
"""

_TABLE = """<div class="scroll"><table><thead><tr>{% for name in columns %}<th>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in rows %}<tr>{% for cell in row %}<td{% if cell is number %} class="number"{% endif %}>{{ cell|cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>"""

_FACTS = """<ul class="facts">{% for name, value in facts.items() %}<li><b>{{ value|cell }}</b><span>{{ name }}</span></li>{% endfor %}</ul>"""


def _cell(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else value
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


_ENVIRONMENT = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
_ENVIRONMENT.filters["cell"] = _cell


def page(title: str, lead: str, sections: Sequence[tuple[str, Markup]]) -> bytes:
    """A whole page: UTF-8 HTML. `sections` are (heading, body) with bodies from the functions below."""
    named = [{"title": heading, "body": body} for heading, body in sections]
    text = _ENVIRONMENT.from_string(_PAGE).render(title=title, lead=lead, sections=named, version=VERSION)
    return text.encode()


def facts(values: Mapping[str, Any]) -> Markup:
    """A row of the few numbers that matter, each with its name."""
    return Markup(_ENVIRONMENT.from_string(_FACTS).render(facts=values))  # noqa: S704  # rendered with autoescape


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Markup:
    """A table; numbers are right-aligned, None is a dash, text is escaped."""
    return Markup(_ENVIRONMENT.from_string(_TABLE).render(columns=columns, rows=rows))  # noqa: S704  # as above


def paragraph(text: str) -> Markup:
    """Escaped text."""
    return Markup("<p>{}</p>").format(text)


def picture(figure: Any, caption: str) -> Markup:
    """A matplotlib Figure (made with `matplotlib.figure.Figure`, not pyplot) as inline SVG, with its caption.

    Text stays text and ids are fixed, so that equal figures give equal bytes.
    """
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "nasflow", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", bbox_inches="tight", metadata={"Date": None})
    text = buffer.getvalue().decode()
    svg = text[text.index("<svg") :]
    return Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(Markup(svg), caption)  # noqa: S704
