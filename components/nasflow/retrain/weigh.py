"""Whether the new data ask for another model, and for which: `weigh`."""

import dataclasses
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from nasflow.core import html
from nasflow.core.artifacts import Dataset
from nasflow.core.spec import ExperimentSpec
from nasflow.core.workspace import Place, run_once
from nasflow.data.drift import MODERATE, psi
from nasflow.retrain.documents import EXPERIMENT, Action, Incumbent, Review

logger = logging.getLogger(__name__)

LABEL = "label"
_CHANCE = 3.0
"""A label's index counts from so many times what chance makes of samples of this size."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Since the champion's data."""

    drifted: Mapping[str, float]
    """Index by column; only what is no chance."""
    columns: tuple[str, ...]
    """Sentences about columns that came, went or changed their kind."""
    classes: tuple[str, ...]
    """Sentences about classes that came or went."""
    rows_before: int
    rows: int
    """Of training."""

    @property
    def growth(self) -> float:
        """Relative change of the number of rows; 0.5 is half as many more, or fewer."""
        return abs(self.rows - self.rows_before) / max(1, self.rows_before)


def run(experiment: ExperimentSpec, *, dataset: Dataset, incumbent: Incumbent, work_dir: str, output: str) -> Review:
    """Returns the Review. `experiment` is the one that `recall` left.

    Raises:
        DocumentError: a document is damaged.
    """

    def produce(_place: Place) -> tuple[Review, Mapping[str, bytes]]:
        changes = None
        if incumbent.version is not None and dataset.digest != incumbent.dataset_digest:
            changes = changes_since(Dataset.read(incumbent.dataset_uri), dataset)
        action, reasons = decide(experiment, incumbent, changes)
        for reason in reasons:
            logger.info("weigh: %s", reason)
        logger.info("weigh: %s", action)
        document = Review(
            action=action,
            reasons=tuple(reasons),
            drifted=dict(changes.drifted) if changes else {},
            version=incumbent.version,
        )
        after = follow(experiment, action, incumbent)
        return document, {
            EXPERIMENT: after.model_dump_json(by_alias=True, indent=1).encode(),
            "report.html": _page(document),
        }

    inputs = {"dataset": dataset, "incumbent": incumbent}
    return run_once("weigh", Review, produce, spec=experiment, inputs=inputs, work_dir=work_dir, output=output)


def decide(experiment: ExperimentSpec, incumbent: Incumbent, changes: Changes | None) -> tuple[Action, list[str]]:
    """(what follows, why). `changes` is None where there is no champion, or where the data are the same."""
    section = experiment.retrain
    if incumbent.version is None:
        return "search", [f"{incumbent.name} has no champion: a whole search."]
    if changes is None:
        return "keep", [f"The data are those that version {incumbent.version} was trained on."]
    reasons = [*changes.columns, *changes.classes]
    reasons += [
        f"{'The label' if name == LABEL else f'Column {name!r}'} has drifted: population stability index {index:.2f}."
        for name, index in sorted(changes.drifted.items(), key=lambda item: -item[1])
    ]
    largest = max(changes.drifted.values(), default=0.0)
    if changes.columns or changes.classes or largest >= section.search_above:
        reasons.append("That is much: a short search, which starts at the champion's architecture.")
        return "search", reasons
    grown = changes.growth >= section.min_growth
    if grown:
        reasons.append(
            f"{changes.rows:,} training rows instead of {changes.rows_before:,}: {changes.growth:.0%}, and "
            f"retrain.min_growth is {section.min_growth:.0%}."
        )
    if changes.drifted or grown:
        reasons.append("The champion's architecture is trained on the new data.")
        return "retrain", reasons
    reasons.append("Nothing has drifted, and there are hardly more rows.")
    if section.when == "always":
        reasons.append("retrain.when is always: the champion's architecture is trained on the new data.")
        return "retrain", reasons
    reasons.append(f"Version {incumbent.version} stays.")
    return "keep", reasons


def follow(experiment: ExperimentSpec, action: Action, incumbent: Incumbent) -> ExperimentSpec:
    """The experiment as the rest of the pipeline runs it: a retraining is a search of one trial, the champion's point.

    A champion whose point is not known is searched for anew, shortly.
    """
    if incumbent.version is None or action == "keep":
        return experiment
    content = experiment.model_dump(mode="json")
    search: dict[str, Any] = content["search"]
    search["start"] = [] if incumbent.values is None else [incumbent.values]
    again = action == "retrain" and incumbent.values is not None
    search["budget"]["trials"] = 1 if again else experiment.retrain.trials
    return ExperimentSpec.model_validate(content)


def changes_since(before: Dataset, now: Dataset) -> Changes:
    """From the two Datasets' statistics; what preprocess found to have drifted is taken as it is."""
    statistics, earlier = now.json("statistics.json"), before.json("statistics.json")
    since = [found for found in statistics["quality"] if found["kind"] == "drift_since"]
    drifted = {found["column"]: float(found["numbers"]["psi"]) for found in since if "psi" in found["numbers"]}
    counts, counted = earlier["label"].get("train", {}), statistics["label"].get("train", {})
    classes: list[str] = []
    if _is_counts(counts) and _is_counts(counted):
        classes = [f"Class {name!r} is new." for name in counted if name not in counts]
        classes += [f"Class {name!r} is gone." for name in counts if name not in counted]
        index = label_drift(counts, counted)
        drifted |= {LABEL: index} if index else {}
    return Changes(
        drifted=drifted,
        columns=tuple(found["text"] for found in since if "psi" not in found["numbers"]),
        classes=tuple(classes),
        rows_before=before.rows["train"],
        rows=now.rows["train"],
    )


def label_drift(before: Mapping[str, int], now: Mapping[str, int]) -> float:
    """The population stability index of two counts of classes; 0 where it is small, or could be chance: its mean for
    equal distributions is about (classes − 1)(1/n + 1/m).

    >>> before = {"a": 500, "b": 500}
    >>> label_drift(before, {"a": 520, "b": 480}), round(label_drift(before, {"a": 50, "b": 150}), 3)
    (0.0, 0.275)
    """
    names = sorted(set(before) | set(now))
    first, second = (np.array([counts.get(name, 0) for name in names], np.int64) for counts in (before, now))
    index = psi(first, second)
    chance = (len(names) - 1) * (1 / max(1, int(first.sum())) + 1 / max(1, int(second.sum())))
    return index if index >= max(MODERATE, _CHANCE * chance) else 0.0


def _is_counts(label: Any) -> bool:
    """Whether it is rows by class, and not the moments of a regression's targets."""
    return (
        isinstance(label, Mapping) and all(isinstance(value, int) for value in label.values()) and "mean" not in label
    )


def _page(document: Review) -> bytes:
    facts = {"action": document.action, "champion": document.version, "columns drifted": len(document.drifted)}
    rows = sorted(document.drifted.items(), key=lambda item: -item[1])
    sections = [
        ("Decision", html.facts(facts)),
        ("Why", html.table(["reason"], [[reason] for reason in document.reasons])),
    ]
    if rows:
        sections.append(("Drift since the champion's data", html.table(["column", "population stability index"], rows)))
    return html.page("Retraining", "The new data, held against those of the champion.", sections)
