"""Findings of rows that are the same as others, or nearly."""

from nasflow.core.spec import OptimiseSection
from nasflow.preprocess.findings import Finding
from nasflow.preprocess.summary import Summary

_CONFLICTS = 0.01
"""From this share of the rows on it is no note."""


def duplicate_findings(summary: Summary, optimise: OptimiseSection, by: str) -> list[Finding]:
    """Rows that are in two files, contradict each other, or occur again; `by`: as in `data.split.by`."""
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


def near_findings(summary: Summary, *, done: bool, beside: bool) -> list[Finding]:
    """Images that are nearly the same in two splits. `done`: they were dropped; `beside`: there are other columns."""
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
