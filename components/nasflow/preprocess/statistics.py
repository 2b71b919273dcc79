"""``statistics.json`` and the findings: what a person should know about the data before trusting a model of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from nasflow.core.artifacts import SPLITS
from nasflow.core.spec import OptimiseSection, SplitSection
from nasflow.data.schema import Schema
from nasflow.data.transform import TransformSpec
from nasflow.preprocess import identifiers, suspects
from nasflow.preprocess.dead_letters import DROPPED, DeadLetters, by_count
from nasflow.preprocess.findings import Finding, weightiest_first, yaml_name
from nasflow.preprocess.plan import Plan
from nasflow.preprocess.quality import Quality, drift_findings, leak_findings, numbers_of
from nasflow.preprocess.sources._base import IMAGE
from nasflow.preprocess.summary import CategoricalSummary, NumericSummary, Summary
from nasflow.preprocess.text_findings import describe_texts, text_findings

_TOP = 20
_IMBALANCE = 10.0
_MISSING_SHARE = 0.2
_FEW_ROWS = 10
_CONFLICTS = 0.01
_SURE = 0.7


def describe(
    plan: Plan,
    schema: Schema,
    summary: Summary,
    dead: DeadLetters,
    rows: Mapping[str, int],
    *,
    quality: Quality,
    found: Sequence[Finding],
) -> dict[str, Any]:
    """Numbers of the training split, label distributions of all splits, and findings. JSON-safe."""
    kinds: dict[str, str] = {column.name: column.kind for column in plan.columns}
    columns: dict[str, Any] = {name: _numeric(one, kinds[name]) for name, one in summary.numeric.items()}
    for name, values in summary.distinct.items():
        columns[name] |= {"distinct": values.distinct, "exact": values.exact}
    for name, texts in summary.categorical.items():
        columns[name] = {"kind": kinds[name], **_texts(texts)}
    for name, lists in summary.lists.items():
        about = {"rows": lists.rows, "empty": lists.empty, "longest": lists.longest}
        columns[name] = {"kind": "list", **_texts(lists.elements), **about, "missing": lists.empty}
    for name, vectors in summary.vectors.items():
        columns[name] = {"kind": "vector", "count": vectors.rows, "missing": vectors.incomplete}
        columns[name] |= {"mean": vectors.mean, "std": vectors.std}
    columns |= describe_texts(summary)
    if summary.image is not None:
        columns[IMAGE] = {
            "kind": "image",
            "count": rows["train"],
            "mean": list(summary.image.mean),
            "std": list(summary.image.std),
        }
    for name, bins in quality.bins.items():
        if name not in columns:
            continue
        counts = {split: counted.tolist() for split, counted in quality.counts[name].items()}
        columns[name]["bins"] = {"edges": bins.edges, "texts": bins.texts, "counts": counts}
        if name in quality.alone:
            columns[name]["alone"] = round(quality.alone[name], 6)
    for split, compared in quality.drift.items():
        for each in compared:
            if each.column is not None:
                columns[each.column].setdefault("drift", {})[split] = numbers_of(each)
    label: dict[str, Any] = {split: _numeric(one) for split, one in summary.targets.items()}
    if schema.label.classes is not None:
        label = {
            split: {name: summary.classes[split].get(name, 0) for name in schema.label.classes} for split in SPLITS
        }
    return {
        "rows": dict(rows),
        "columns": columns,
        "label": label,
        "ignored": schema.ignored,
        "duplicates": summary.duplicates.model_dump(),
        "dead": dict(by_count(dead.counts)),
        "findings": [finding.text for finding in found],
        "quality": [finding.model_dump() for finding in found],
    }


def findings(
    plan: Plan,
    schema: Schema,
    summary: Summary,
    dead: DeadLetters,
    *,
    quality: Quality,
    optimise: OptimiseSection,
    split: SplitSection,
    transform: TransformSpec,
) -> list[Finding]:
    """The weightiest first."""
    found = _dead(dead)
    found += leak_findings(quality, dropped=optimise.drop_leaks)
    named = {
        name: reason
        for name, reason in identifiers.find(plan, summary, quality).items()
        if optimise.drop_identifiers or name not in schema.ignored
    }
    found += identifiers.findings(named, quality, dropped=optimise.drop_identifiers)
    found += _duplicates(summary, optimise, split.by)
    found += _near(summary, done=optimise.drop_near_duplicates, beside=len(plan.columns) > 1)
    found += text_findings(summary, transform, optimise)
    found += drift_findings(quality)
    if optimise.find_suspect_labels and schema.label.classes is not None:
        found += suspects.finding(
            suspects.find(quality), quality.frames["train"].num_rows, dropped=optimise.drop_suspect_labels
        )
    found += _classes(schema, summary, optimise)
    told = {finding.column for finding in found if finding.kind in ("leak", "identifier")}
    found += [
        _note(_why(reason), f"Column {name!r} is ignored: {reason}.", column=name)
        for name, reason in schema.ignored.items()
        if name not in told
    ]
    found += [_note("column", f"Column {note}.") for note in plan.notes]
    for name, column in summary.numeric.items():
        if name in schema.ignored:
            continue
        found += _missing(name, column.missing, column.count + column.missing + column.non_finite)
        if column.non_finite:
            text = (
                f"Column {name!r} has {column.non_finite:,} infinite values; they count as missing: an answer to what "
                "is no finite number would mean nothing."
            )
            found.append(
                Finding(
                    severity="note",
                    kind="infinite",
                    text=text,
                    column=name,
                    remedy="Where infinite means very much, cut values off; else say what stands for them.",
                    switch=f"data.columns: {{{yaml_name(name)}: {{impute: median}}}}",
                )
            )
    for name, texts in summary.categorical.items():
        if name in schema.ignored:
            continue
        found += _missing(name, texts.missing, texts.count + texts.missing)
        if texts.distinct > len(texts.top) or not texts.exact:
            text = (
                f"Column {name!r} has {'more than ' * (not texts.exact)}{texts.distinct:,} different texts; the "
                f"{len(texts.top):,} most frequent are the vocabulary, the others share places by hash."
            )
            found.append(
                Finding(
                    severity="note",
                    kind="vocabulary",
                    text=text,
                    column=name,
                    remedy="More places tell more of the rare ones apart; they cost parameters.",
                    switch=f"data.columns: {{{yaml_name(name)}: {{oov_buckets: 4096}}}}",
                )
            )
    for name, lists in summary.lists.items():
        if name not in schema.ignored:
            found += _missing(name, lists.empty, lists.rows, what="empty")
    for name, vectors in summary.vectors.items():
        if vectors.incomplete and name not in schema.ignored:
            text = (
                f"Column {name!r} lacks a finite number in {vectors.incomplete:,} of {vectors.rows:,} training rows; "
                "the mean of its place stands for it: an answer to what is no finite number would mean nothing."
            )
            found.append(
                Finding(
                    severity="note",
                    kind="infinite",
                    text=text,
                    column=name,
                    remedy="The model can be told in how many rows that is so, or not.",
                    switch=f"data.columns: {{{yaml_name(name)}: {{indicator: true}}}}",
                )
            )
    found += _unsure(schema)
    return weightiest_first(found)


def _unsure(schema: Schema) -> list[Finding]:
    """Kinds that may be others."""
    return [
        Finding(
            severity="note",
            kind="unsure",
            text=f"Column {column.name!r} is taken as {column.kind} with a confidence of {column.confidence:.0%}: "
            f"{column.reason}.",
            column=column.name,
            numbers={"confidence": column.confidence},
            remedy="If that is wrong, say its kind.",
            switch=f"data.columns: {{{yaml_name(column.name)}: {{kind: …}}}}",
        )
        for column in schema.columns
        if column.confidence < _SURE
    ]


def _why(reason: str) -> str:
    """The kind of finding that an ignored column is.

    >>> _why("constant: 3 in every training row"), _why("an identifier: text that …"), _why("data.ignore")
    ('constant', 'identifier', 'ignored')
    """
    if reason.startswith("constant"):
        return "constant"
    return "identifier" if reason.startswith("an identifier") else "ignored"


def _note(kind: str, text: str, column: str | None = None) -> Finding:
    return Finding(severity="note", kind=kind, text=text, column=column)


def _dead(dead: DeadLetters) -> list[Finding]:
    found = []
    dropped = {reason: count for reason, count in dead.counts.items() if reason.startswith(DROPPED)}
    unusable = {reason: count for reason, count in dead.counts.items() if not reason.startswith(DROPPED)}
    if unusable:
        reasons = ", ".join(f"{count:,} × {reason}" for reason, count in by_count(unusable))
        found.append(
            Finding(
                severity="warning",
                kind="unusable",
                text=f"{sum(unusable.values()):,} rows could not be used: {reasons}.",
                numbers=unusable,
                remedy="dead_letters.jsonl names file, row and column of each; repair them at their source.",
            )
        )
    if dropped:
        reasons = ", ".join(f"{count:,} × {reason.removeprefix(DROPPED)}" for reason, count in by_count(dropped))
        text = f"{sum(dropped.values()):,} rows were left out as data.optimise asks: {reasons}."
        found.append(Finding(severity="note", kind="dropped", text=text, numbers=dropped))
    return found


def _duplicates(summary: Summary, optimise: OptimiseSection, by: str) -> list[Finding]:
    found, about = [], "" if summary.duplicates.exact else "about "
    duplicates = summary.duplicates
    if count := duplicates.test_in_train:
        found.append(
            Finding(
                severity="serious",
                kind="test_in_train",
                text=f"{about.capitalize()}{count:,} rows of the test file are in the training file, too: the test "
                "score will be too good.",
                numbers={"rows": count, "exact": duplicates.exact},
                remedy="" if optimise.drop_duplicates else "Drop them from the training and validation rows.",
                switch="" if optimise.drop_duplicates else "data.optimise.drop_duplicates: true",
            )
        )
    if count := duplicates.conflicting:
        share = count / max(1, sum(summary.split_rows.values()))
        if summary.classes:
            found.append(
                Finding(
                    severity="warning" if share >= _CONFLICTS else "note",
                    kind="conflicting_labels",
                    text=f"{about.capitalize()}{count:,} rows ({share:.2%}) have the features of a row with another "
                    "label: no model can be right on all of them.",
                    numbers={"rows": count, "share": round(share, 6), "exact": duplicates.exact},
                    remedy="Look at them; where the labels are mistakes, keep only the more frequent one. Where few "
                    "columns describe a row this is natural: leave them.",
                    switch="" if optimise.drop_conflicting_labels else "data.optimise.drop_conflicting_labels: true",
                )
            )
    if count := duplicates.train_source:
        where = {
            "hash": "equal rows are in the same split",
            "stratified": "equal rows of one label are in the same split",
        }.get(by, "equal rows may be in different splits")
        text = f"{about.capitalize()}{count:,} rows repeat the features of another row; {where}."
        found.append(
            Finding(
                severity="note",
                kind="duplicates",
                text=text,
                numbers={"rows": count, "exact": duplicates.exact},
                remedy="" if optimise.drop_duplicates else "Drop them, unless being frequent means something.",
                switch="" if optimise.drop_duplicates else "data.optimise.drop_duplicates: true",
            )
        )
    return found


def _near(summary: Summary, *, done: bool, beside: bool) -> list[Finding]:
    alone = " Rows with texts go only where these are nearly the same, too." if beside else ""
    found = []
    for split, near in summary.near.items():
        if count := near["near"]:
            (file, row, other, other_row), *_ = near["examples"]
            found.append(
                Finding(
                    severity="serious" if count / near["asked"] >= _CONFLICTS else "warning",
                    kind="near_duplicates",
                    text=f"{count:,} of {near['asked']:,} sampled {split} images are nearly the same as one of "
                    f"{near['known']:,} training images, for example {file} row {row} and {other} row {other_row}.",
                    numbers={"split": split, **near},
                    remedy=""
                    if done
                    else "Drop the training and validation rows among them, or keep pictures of one thing in one split "
                    f"(data.split.by: group).{alone}",
                    switch="" if done else "data.optimise.drop_near_duplicates: true",
                )
            )
    return found


def _classes(schema: Schema, summary: Summary, optimise: OptimiseSection) -> list[Finding]:
    if schema.label.classes is None:
        return []
    found = []
    counts = {name: summary.classes["train"].get(name, 0) for name in schema.label.classes}
    least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if counts[least] and counts[most] / counts[least] >= _IMBALANCE:
        weights = class_weights(summary, schema.label.classes)
        proposed = {name: round(weight, 4) for name, weight in zip(schema.label.classes, weights, strict=True)}
        shown = ", ".join(f"{name!r} {proposed[name]:g}" for name in (least, most))
        done = optimise.class_weights
        found.append(
            Finding(
                severity="note" if done else "warning",
                kind="imbalance",
                text=f"Classes are unbalanced: {most!r} has {counts[most]:,} training rows, {least!r} "
                f"{counts[least]:,}; consider f1_macro as the objective.",
                numbers={"ratio": round(counts[most] / counts[least], 4), "weights": proposed},
                remedy=f"The training loss {'is' if done else 'can be'} weighted so that classes count alike: {shown}.",
                switch="" if done else "data.optimise.class_weights: true",
            )
        )
    for split in SPLITS:
        lacking = [name for name in schema.label.classes if not summary.classes[split].get(name, 0)]
        if lacking:
            found.append(
                Finding(
                    severity="serious" if split == "train" else "warning",
                    kind="absent_class",
                    text=f"The {split} split has no row of class {', '.join(map(repr, lacking[:_FEW_ROWS]))}.",
                    numbers={"split": split, "classes": lacking},
                    remedy="Add rows, join rare classes with data.label_map, or give every class its share.",
                    switch="" if split == "train" else "data.split.by: stratified",
                )
            )
    return found


def class_weights(summary: Summary, classes: Sequence[str]) -> tuple[float, ...]:
    """Rows / (classes × rows of the class), of the training rows: their mean over these rows is 1. Classes without a
    training row weigh 1 and do not count."""
    counts = [summary.classes["train"].get(name, 0) for name in classes]
    present = sum(count > 0 for count in counts)
    return tuple(sum(counts) / (present * count) if count else 1.0 for count in counts)


def _missing(name: str, missing: int, rows: int, what: str = "missing") -> list[Finding]:
    if rows and missing / rows >= _MISSING_SHARE:
        return [
            Finding(
                severity="note",
                kind="missing",
                column=name,
                text=f"Column {name!r} is {what} in {missing / rows:.0%} of the training rows.",
                numbers={"share": round(missing / rows, 6)},
                remedy="The model is told where it is missing. If it will be there when the model is used, or the "
                "other way round, leave the column out.",
                switch=f"data.ignore: [{yaml_name(name)}]",
            )
        ]
    return []


def _numeric(found: NumericSummary, kind: str = "numeric") -> dict[str, Any]:
    return {"kind": kind, **found.model_dump()}


def _texts(found: CategoricalSummary) -> dict[str, Any]:
    return {
        "count": found.count,
        "missing": found.missing,
        "distinct": found.distinct,
        "exact": found.exact,
        "top": dict(found.top[:_TOP]),
    }
