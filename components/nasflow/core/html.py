"""Self-contained HTML reports: one page, no script, no network. Pictures are inline SVG."""

import io
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

from nasflow.core.version import VERSION


def page(title: str, lead: str, sections: Sequence[tuple[str, Markup]]) -> bytes:
    """A whole page: UTF-8 HTML. `sections` are (heading, body) with bodies from the functions below."""
    return str(_template().page(title, lead, sections, VERSION)).strip().encode()


def facts(values: Mapping[str, Any]) -> Markup:
    """A row of the few numbers that matter, each with its name."""
    return Markup(_template().facts(values))  # noqa: S704  # rendered with autoescape


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Markup:
    """A table; numbers are right-aligned, None is a dash, text is escaped."""
    return Markup(_template().table(columns, rows))  # noqa: S704  # rendered with autoescape


def folded(summary: str, body: Markup) -> Markup:
    """Something long that opens when its summary is clicked."""
    return Markup("<details><summary>{}</summary>{}</details>").format(summary, body)


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
    svg = Markup(text[text.index("<svg") :])  # noqa: S704  # matplotlib's own output, which escapes text
    return figure_of(svg, caption)


def figure_of(svg: Markup, caption: str) -> Markup:
    """An inline SVG with its caption."""
    return Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(svg, caption)


@cache
def _template() -> Any:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("nasflow.core", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["cell"] = _cell
    return environment.get_template("report.html.jinja").module


def _cell(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else value
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
