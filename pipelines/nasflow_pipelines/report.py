"""One page for a whole run: what came out, and every step's report below it."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

from nasflow.core import html
from nasflow.core.artifacts import Document, Estimate
from nasflow.core.errors import UserError
from nasflow_pipelines.kinds import RETRAIN
from nasflow_pipelines.summary import Summary, to_json

_SECTIONS = re.compile(r"<section>.*?</section>", re.DOTALL)
_HEADING = re.compile(r"<h2>(.*?)</h2>", re.DOTALL)
_REPEATED = ("evaluate", "Result")  # the whole page's first section shows the same
_SHOWN_FIRST = ("weigh", "evaluate", "search", "train", "preprocess")


def write_results(folder: Path, summary: Summary, documents: Mapping[str, Document]) -> Path:
    """Writes ``summary.json``, ``report.html`` and ``reports/<step>.html``; returns the report's path."""
    pages = {step: document.file("report.html") for step, document in documents.items() if _has_page(document)}
    (folder / "reports").mkdir(parents=True, exist_ok=True)
    for step, page in pages.items():
        (folder / "reports" / f"{step}.html").write_bytes(page)
    report = folder / "report.html"
    report.write_bytes(combined(summary, pages))
    (folder / "summary.json").write_bytes(to_json(summary))  # last: who sees it sees all of it
    return report


def rebuild(folder: Path) -> Path:
    """Writes the report again from a run folder's summary and documents.

    Raises:
        UserError: the folder holds no finished run.
    """
    path = folder / "summary.json"
    if not path.is_file():
        raise UserError(f"{folder}: no summary.json here; name the folder of a run (`nasflow run` prints it)")
    summary = Summary.model_validate_json(path.read_bytes())
    documents = {
        step: kind.read(str(folder / "documents" / step))
        for step, kind in RETRAIN.steps.items()  # which has those of the other pipeline, too
        if kind.exists(str(folder / "documents" / step))
    }
    return write_results(folder, summary, documents)


def combined(summary: Summary, pages: Mapping[str, bytes]) -> bytes:
    """The page: facts, comparison and decision first, then each step's own sections."""
    sections: list[tuple[str, Markup]] = [("Result", _facts(summary))]
    if summary.error:
        sections.append((f"Failed in {summary.error.step}", html.paragraph(summary.error.message)))
    judged = "evaluate" in pages  # that step's own page says all of it
    if summary.test and summary.baseline and not judged:
        sections.append(("On the held-out test set", html.table(*comparison(summary))))
    if summary.decision and not judged:
        verdict = "Promoted" if summary.decision.promoted else "Not promoted"
        sections.append((verdict, Markup("").join(html.paragraph(reason) for reason in summary.decision.reasons)))
    for step in _SHOWN_FIRST:
        parts = _parts(pages.get(step, b"").decode())
        sections += [(f"{step}: {heading}", body) for heading, body in parts if (step, heading) != _REPEATED]
    costs = [(step, summary.seconds[step], summary.cpu_seconds.get(step)) for step in summary.seconds]
    sections.append(("Cost", html.table(("step", "seconds", "CPU seconds"), costs)))
    lead = f"{summary.task}, {summary.status}"
    return html.page(summary.name, lead, sections)


def comparison(summary: Summary) -> tuple[Sequence[str], Sequence[Sequence[object]]]:
    """Columns and rows of test metrics beside the baselines'."""
    others = summary.other_baselines or {}
    columns = ("metric", "model", "95 % interval", "hand-made", *others)
    rows = [
        (
            name,
            estimate.value,
            interval(estimate),
            _value(summary.baseline, name),
            *(_value(o, name) for o in others.values()),
        )
        for name, estimate in (summary.test or {}).items()
    ]
    return columns, rows


def interval(estimate: Estimate) -> str:
    """Both ends, four significant digits."""
    return f"{estimate.ci95[0]:.4g} to {estimate.ci95[1]:.4g}"


def _value(estimates: Mapping[str, Estimate] | None, name: str) -> float | None:
    return estimates[name].value if estimates and name in estimates else None


def _facts(summary: Summary) -> Markup:
    shown: dict[str, object] = {"status": summary.status}
    if summary.retrain:
        shown["what the new data asked for"] = summary.retrain.action
    if summary.test:
        shown[f"test {summary.objective}"] = summary.test[summary.objective].value
    if summary.baseline:
        shown["hand-made baseline"] = summary.baseline[summary.objective].value
    if summary.search:
        shown["trials completed"] = summary.search.trials.completed
        if summary.search.best:
            shown["parameters"] = summary.search.best.parameters
    if summary.model:
        shown["registered as"] = f"{summary.model.name} v{summary.model.version}"
    return html.facts(shown)


def _parts(page: str) -> list[tuple[str, Markup]]:
    found: list[tuple[str, Markup]] = []
    for section in _SECTIONS.findall(page):
        heading = _HEADING.search(section)
        body = _HEADING.sub("", section, count=1).removeprefix("<section>").removesuffix("</section>")
        title = Markup(heading.group(1)).unescape() if heading else "more"  # noqa: S704  # from html.page, escaped there
        found.append((title, Markup(body)))  # noqa: S704  # as above
    return found


def _has_page(document: Document) -> bool:
    return "report.html" in document.files
