"""What the sampled rows tell about every column: histograms by split, drift, and what it predicts alone."""

import dataclasses
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nasflow.core.artifacts import Dataset
from nasflow.core.errors import DocumentError
from nasflow.core.spec import Task
from nasflow.data import drift
from nasflow.data.drift import Bins, Drift
from nasflow.preprocess import leaks
from nasflow.preprocess.findings import Finding, ignore_switch
from nasflow.preprocess.inspection import LABEL, decode_frames, features, numbers, texts
from nasflow.preprocess.summary import Summary

_SHOWN = 5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Of the samples; `frames` has a table for each split that has rows."""

    frames: dict[str, pa.Table]
    bins: dict[str, Bins]
    """By feature; cut by the training rows."""
    counts: dict[str, dict[str, NDArray[np.int64]]]
    """By feature and split, sampled rows in each bin."""
    drift: dict[str, list[Drift]]
    """By split (``validation``, ``test``), every feature and the label against the training rows."""
    alone: dict[str, float]
    """By feature, AUC or R² of predicting the label from it alone."""
    task: Task

    @property
    def leaking(self) -> dict[str, str]:
        """Features that give the label away, with the reason."""
        limit, name = (leaks.R2, "R²") if self.task == "tabular_regression" else (leaks.AUC, "AUC")
        rows = self.frames["train"].num_rows if "train" in self.frames else 0
        found = {column: score for column, score in self.alone.items() if score >= limit}
        return {
            column: f"leak: alone it predicts the label with a cross-validated {name} of {score:.4f} (limit {limit}, "
            f"{rows:,} rows)"
            for column, score in found.items()
        }


def examine(summary: Summary, task: Task) -> Quality:
    """Looks at the analysis' samples."""
    frames = decode_frames(summary.frames)
    train = frames.get("train")
    if train is None:
        return Quality(frames=frames, bins={}, counts={}, drift={}, alone={}, task=task)
    columns = {split: {name: values(frame, name) for name in features(frame)} for split, frame in frames.items()}
    labels = {split: label(frame) for split, frame in frames.items()}
    bins = {name: drift.bins_of(column) for name, column in columns["train"].items()}
    return Quality(
        frames=frames,
        bins=bins,
        counts={name: {split: cut.count(columns[split][name]) for split in frames} for name, cut in bins.items()},
        drift={
            split: [
                *(drift.compare(name, column, columns[split][name]) for name, column in columns["train"].items()),
                drift.compare(None, labels["train"], labels[split]),
            ]
            for split in frames
            if split != "train"
        },
        alone=leaks.scores(columns["train"], labels["train"]),
        task=task,
    )


def values(frame: pa.Table, name: str) -> Any:
    """A feature: float64 [rows] or Arrow strings [rows]."""
    found = numbers(frame, name)
    return texts(frame, name) if found is None else found


def label(frame: pa.Table) -> Any:
    """Arrow strings [rows] or float64 [rows]."""
    column = frame.column(LABEL)
    return column.to_numpy() if pa.types.is_floating(column.type) else column.combine_chunks()


def leak_findings(quality: Quality, *, dropped: bool) -> list[Finding]:
    """One for each leaking feature."""
    done = (
        "It was hidden from the model" if dropped else "Ask whether it is known before the answer is; if not, hide it"
    )
    return [
        Finding(
            severity="note" if dropped else "serious",
            kind="leak",
            column=column,
            text=f"Column {column!r} looks like a {reason}.",
            numbers={"score": round(quality.alone[column], 6)},
            remedy=f"{done}.",
            switch="" if dropped else "data.optimise.drop_leaks: true",
        )
        for column, reason in quality.leaking.items()
    ]


def drift_findings(quality: Quality) -> list[Finding]:
    """One for each column that differs between the training rows and another split."""
    found = []
    for split, compared in quality.drift.items():
        for each in drift.drifted(compared):
            what = "The label" if each.column is None else f"Column {each.column!r}"
            found.append(
                Finding(
                    severity="serious" if each.psi >= drift.LARGE else "warning",
                    kind="drift",
                    column=each.column,
                    text=f"{what} is distributed differently in the {split} rows: population stability index "
                    f"{each.psi:.2f} ({_p(each)}; samples of {each.n:,} training and {each.m:,} {split} rows).",
                    numbers=numbers_of(each) | {"split": split},
                    remedy="Find out why the rows differ; a model learns the training rows' world. Split the same rows "
                    "by hash, or leave the column out.",
                    switch="" if each.column is None else ignore_switch(each.column),
                )
            )
    return found


def compare(quality: Quality, earlier: Dataset) -> list[Finding]:
    """The training rows against those of an earlier Dataset, by the bins in its ``statistics.json``.

    Raises:
        DocumentError: that Dataset was made before statistics had bins.
    """
    known = earlier.json("statistics.json")["columns"]
    if known and not any("bins" in column for column in known.values()) and quality.bins:
        raise DocumentError(
            f"data.compare_with: {earlier.uri} ({earlier.producer}) has no histograms to compare with; make it again "
            "with this version"
        )
    found, compared = [], []
    frame = quality.frames["train"]
    for name in quality.bins:
        was = known.get(name, {}).get("bins")
        if was is None:
            found.append(_changed(name, "is new; the earlier dataset lacks it"))
            continue
        cut = Bins(edges=tuple(was["edges"] or ()), texts=None if was["texts"] is None else tuple(was["texts"]))
        now = values(frame, name)
        if (cut.texts is None) == isinstance(now, pa.Array):
            found.append(_changed(name, "has changed its kind between number and text"))
            continue
        first, second = np.array(was["counts"]["train"]), cut.count(now)
        statistic, p_value = drift.homogeneity(first, second)
        compared.append(
            Drift(
                column=name,
                psi=drift.psi(first, second),
                test="chi-square",
                statistic=statistic,
                p_value=p_value,
                n=int(first.sum()),
                m=int(second.sum()),
            )
        )
    found += [_changed(name, "is gone since the earlier dataset") for name in known if name not in quality.bins]
    return found + [_since(each) for each in drift.drifted(compared)]


def numbers_of(each: Drift) -> dict[str, Any]:
    """JSON-safe."""
    return {
        "psi": round(each.psi, 6),
        "test": each.test,
        "statistic": round(each.statistic, 6),
        "p_value": each.p_value,
        "rows": [each.n, each.m],
    }


def _since(each: Drift) -> Finding:
    return Finding(
        severity="serious" if each.psi >= drift.LARGE else "warning",
        kind="drift_since",
        column=each.column,
        text=f"Column {each.column!r} has drifted since the earlier dataset: population stability index {each.psi:.2f} "
        f"({_p(each)}; samples of {each.n:,} earlier and {each.m:,} present training rows).",
        numbers=numbers_of(each),
        remedy="A model of the earlier data is out of date where this column matters; train again.",
    )


def _changed(name: str, what: str) -> Finding:
    return Finding(
        severity="serious",
        kind="drift_since",
        column=name,
        text=f"Column {name!r} {what}.",
        remedy="Check where the column comes from.",
    )


def _p(each: Drift) -> str:
    return f"{each.test} p {'< 1e-6' if each.p_value < 1e-6 else f'= {each.p_value:.2g}'}"
