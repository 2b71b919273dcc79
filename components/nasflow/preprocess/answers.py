"""What answers each kind of finding: keys of the YAML, or the reason why none can."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One of both."""

    keys: tuple[str, ...] = ()
    """Keys of `data` that answer it; the finding's switch is one of them, unless it is on already."""
    why_none: str = ""
    """Why no key can."""


ANSWERS: Mapping[str, Answer] = {
    "absent_class": Answer(keys=("data.split.by", "data.label_map")),
    "column": Answer(keys=("data.columns", "data.ignore")),
    "conflicting_labels": Answer(keys=("data.optimise.drop_conflicting_labels",)),
    "constant": Answer(why_none="the column is hidden from the model already: it says nothing"),
    "cut_texts": Answer(keys=("data.columns",)),
    "drift": Answer(keys=("data.ignore", "data.split.by")),
    "drift_since": Answer(why_none="the world has changed since the earlier dataset: only new training follows it"),
    "dropped": Answer(why_none="it says what data.optimise did"),
    "dropped_suspects": Answer(why_none="it says what data.optimise.drop_suspect_labels did"),
    "duplicates": Answer(keys=("data.optimise.drop_duplicates",)),
    "empty_texts": Answer(keys=("data.ignore",)),
    "identifier": Answer(keys=("data.optimise.drop_identifiers", "data.columns")),
    "ignored": Answer(why_none="the YAML asks for it, or the column holds nothing that can be used"),
    "imbalance": Answer(keys=("data.optimise.class_weights",)),
    "infinite": Answer(keys=("data.columns",)),
    "leak": Answer(keys=("data.optimise.drop_leaks",)),
    "missing": Answer(keys=("data.ignore", "data.columns")),
    "near_duplicates": Answer(keys=("data.optimise.drop_near_duplicates",)),
    "suspect_labels": Answer(keys=("data.optimise.drop_suspect_labels",)),
    "test_in_train": Answer(keys=("data.optimise.drop_duplicates",)),
    "unknown_words": Answer(keys=("data.columns",)),
    "unsure": Answer(keys=("data.columns",)),
    "unusable": Answer(why_none="the rows are left out already; only their source can repair them"),
    "vocabulary": Answer(keys=("data.columns",)),
}
"""By kind of finding."""
