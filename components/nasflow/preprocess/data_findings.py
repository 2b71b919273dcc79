"""The findings of a Dataset: what a person should know about the data before trusting a model of it."""

from collections.abc import Iterator, Sequence

from nasflow.core.artifacts import SPLITS
from nasflow.core.spec import OptimiseSection, SplitSection
from nasflow.data.schema import Schema
from nasflow.data.transform import TransformSpec
from nasflow.preprocess import identifiers, suspects
from nasflow.preprocess.dead_letters import DROPPED, DeadLetters, by_count
from nasflow.preprocess.duplicate_findings import duplicate_findings, near_findings
from nasflow.preprocess.findings import Finding, column_switch, ignore_switch, weightiest_first
from nasflow.preprocess.plan import Plan
from nasflow.preprocess.quality import Quality, drift_findings, leak_findings
from nasflow.preprocess.summary import Summary
from nasflow.preprocess.text_findings import text_findings

_IMBALANCE = 10.0
_MISSING_SHARE = 0.2
_FEW_ROWS = 10
_SURE = 0.7


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
    found += duplicate_findings(summary, optimise, split.by)
    found += near_findings(summary, done=optimise.drop_near_duplicates, beside=len(plan.columns) > 1)
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
    found += [each for each in _columns(summary) if each.column not in schema.ignored]
    found += _unsure(schema)
    return weightiest_first(found)


def _columns(summary: Summary) -> Iterator[Finding]:
    """What single columns lack, or have too much of."""
    for name, column in summary.numeric.items():
        yield from _missing(name, column.missing, column.count + column.missing + column.non_finite)
        if column.non_finite:
            yield _note(
                "infinite",
                f"Column {name!r} has {column.non_finite:,} infinite values; they count as missing: an answer to what "
                "is no finite number would mean nothing.",
                column=name,
                remedy="Where infinite means very much, cut values off; else say what stands for them.",
                switch=column_switch(name, "impute: median"),
            )
    for name, texts in summary.categorical.items():
        yield from _missing(name, texts.missing, texts.count + texts.missing)
        if texts.distinct > len(texts.top) or not texts.exact:
            yield _note(
                "vocabulary",
                f"Column {name!r} has {'more than ' * (not texts.exact)}{texts.distinct:,} different texts; the "
                f"{len(texts.top):,} most frequent are the vocabulary, the others share places by hash.",
                column=name,
                remedy="More places tell more of the rare ones apart; they cost parameters.",
                switch=column_switch(name, "oov_buckets: 4096"),
            )
    for name, lists in summary.lists.items():
        yield from _missing(name, lists.empty, lists.rows, what="empty")
    for name, vectors in summary.vectors.items():
        if vectors.incomplete:
            yield _note(
                "infinite",
                f"Column {name!r} lacks a finite number in {vectors.incomplete:,} of {vectors.rows:,} training rows; "
                "the mean of its place stands for it: an answer to what is no finite number would mean nothing.",
                column=name,
                remedy="The model can be told in how many rows that is so, or not.",
                switch=column_switch(name, "indicator: true"),
            )


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
            switch=column_switch(column.name, "kind: …"),
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


def _note(kind: str, text: str, *, column: str | None = None, remedy: str = "", switch: str = "") -> Finding:
    return Finding(severity="note", kind=kind, text=text, column=column, remedy=remedy, switch=switch)


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
                    text=f"The {split} split has no row of class {', '.join(map(repr, lacking[:_FEW_ROWS]))}"
                    + (f" and {len(lacking) - _FEW_ROWS:,} more." if len(lacking) > _FEW_ROWS else "."),
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
                switch=ignore_switch(name),
            )
        ]
    return []
