"""What a person should know about the texts of a dataset."""

from typing import Any

from nasflow.core.artifacts import SPLITS
from nasflow.core.spec import OptimiseSection
from nasflow.data.drift import LARGE, MODERATE
from nasflow.data.transform import TransformSpec
from nasflow.preprocess.findings import Finding, column_switch, ignore_switch
from nasflow.preprocess.summary import Summary

_NEAR, _UNKNOWN, _MORE_UNKNOWN, _EMPTY = 0.01, 0.15, 0.05, 0.01
_SHOWN = 60


def describe_texts(summary: Summary) -> dict[str, dict[str, Any]]:
    """By column, for ``statistics.json``."""
    found = {}
    for name, splits in summary.texts.items():
        train = splits["train"]
        found[name] = {
            "kind": "text",
            "count": train.rows - train.missing,
            "missing": train.missing,
            "distinct": train.distinct,
            "exact": train.error == 0,
            "top": dict(train.top),
            "splits": {split: one.model_dump(exclude={"vocabulary"}) for split, one in splits.items()},
        }
    return found


def text_findings(summary: Summary, transform: TransformSpec, optimise: OptimiseSection) -> list[Finding]:
    """Near duplicates, unknown words, texts that are cut or empty, drift."""
    found = _near(summary, done=optimise.drop_near_duplicates)
    for column in transform.text:
        splits = summary.texts[column.name]
        for split in SPLITS[1:]:
            found += _unknown(column.name, split, splits["train"].unknown, splits[split].unknown)
            found += _drift(column.name, split, splits[split].psi)
        train = splits["train"]
        if train.length(0.98) > column.length:
            text = (
                f"Texts of column {column.name!r} are cut after {column.length} tokens, but 2 % of the training rows "
                f"have more than {train.length(0.98):,}; half have up to {train.length(0.5):,}."
            )
            found.append(
                Finding(
                    severity="note",
                    kind="cut_texts",
                    column=column.name,
                    text=text,
                    numbers={"length": column.length, "lengths": train.lengths},
                    remedy="Let the model see more, if what matters may stand behind; it costs time in proportion.",
                    switch=column_switch(column.name, f"length: {train.length(0.98)}"),
                )
            )
        if train.empty / max(1, train.rows) >= _EMPTY:
            text = f"Column {column.name!r} has no word in {train.empty:,} of {train.rows:,} training rows."
            found.append(
                Finding(
                    severity="note",
                    kind="empty_texts",
                    column=column.name,
                    text=text,
                    remedy="Where most rows have none, the column may be better left out.",
                    switch=ignore_switch(column.name),
                )
            )
    return found


def _unknown(name: str, split: str, train: float, share: float) -> list[Finding]:
    if share < _UNKNOWN and share < train + _MORE_UNKNOWN:
        return []
    return [
        Finding(
            severity="warning",
            kind="unknown_words",
            column=name,
            text=f"{share:.1%} of the tokens of column {name!r} in the {split} rows are not in the vocabulary; of the "
            f"training rows {train:.1%}.",
            numbers={"split": split, "unknown": share, "train": train},
            remedy="Let a larger vocabulary or hashed places tell them apart.",
            switch=column_switch(name, "oov_buckets: 4096"),
        )
    ]


def _drift(name: str, split: str, psi: float | None) -> list[Finding]:
    if psi is None or psi < MODERATE:
        return []
    return [
        Finding(
            severity="serious" if psi >= LARGE else "warning",
            kind="drift",
            column=name,
            text=f"The words of column {name!r} are distributed differently in the {split} rows: population stability "
            f"index {psi:.2f} over the training rows' most frequent tokens.",
            numbers={"split": split, "psi": psi},
            remedy="Find out why the rows differ; a model learns the training rows' words. Split the same rows by "
            "hash, or leave the column out.",
            switch=ignore_switch(name),
        )
    ]


def _near(summary: Summary, *, done: bool) -> list[Finding]:
    found = []
    for split in reversed(SPLITS):
        near = summary.near_texts.get(split)
        if near is None or not near["near"]:
            continue
        file, row, text, other_file, other_row, other_text, score = near["examples"][0]
        share = near["near"] / near["asked"]
        inside = split == "train"
        what = "each other" if inside else f"one of {near['known']:,} training texts"
        found.append(
            Finding(
                severity=("warning" if share >= _NEAR else "note")
                if inside
                else ("serious" if share >= _NEAR else "warning"),
                kind="near_duplicates",
                text=f"{near['near']:,} of {near['asked']:,} sampled {split} texts ({share:.1%}) are nearly the same "
                f"as {what} (estimated Jaccard of word triples >= 0.8, equal rows not counted), for example {file} row "
                f"{row}: {text[:_SHOWN]!r}, and {other_file} row {other_row}: {other_text[:_SHOWN]!r} ({score:.2f}).",
                numbers={"split": split, **near},
                remedy=""
                if done
                else "Drop the training and validation rows among them: a model is else judged on what it has seen.",
                switch="" if done else "data.optimise.drop_near_duplicates: true",
            )
        )
    return found
