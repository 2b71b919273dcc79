"""Labels that are probably wrong: confident learning (Northcutt, Jiang and Chuang 2021, Confident learning: estimating
uncertainty in dataset labels, JAIR 70, §3).

A row is suspect where a model that has not seen it is confident of another class: its out-of-fold probability reaches
the class's threshold, the mean probability of that class over the rows that carry its label. The off-diagonal of the
confident joint, in the paper's words; ranked by margin. We differ in that no count is taken from the joint: every such
row is shown, the clearest first.
"""

import dataclasses
import math
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from nasflow.preprocess.findings import Finding
from nasflow.preprocess.inspection import FILE, IMAGE, PROSE, ROW, THUMBNAIL, features, prose
from nasflow.preprocess.leaks import places
from nasflow.preprocess.quality import Quality, label, values

FOLDS = 5
_TREES = 100
_AT_A_SPLIT = 16
"""So many columns are tried at a split, or √columns if that is more: with √3 = 1 trees are never sure of anything."""
_LEAST_OF_CLASS = 10
_LISTED = 100
_TOPICS, _MOST_WORDS = 50, 20_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """One row."""

    file: str
    row: int
    label: str
    suggested: str
    probability: float
    """Of the suggested class."""


def confident(probabilities: NDArray[np.float64], given: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 [n]: the class that each row more probably is, −1 where its label stands.

    Args:
        probabilities: float64 [n, classes], out of sample.
        given: int64 [n], the labels; every class occurs.

    A row is counted for the most probable of the classes whose threshold it reaches; ties go to the first.
    """
    members = given[:, None] == np.arange(probabilities.shape[1])
    thresholds = (probabilities * members).sum(axis=0) / members.sum(axis=0)
    reached = np.where(probabilities >= thresholds, probabilities, -1.0)
    best = reached.argmax(axis=1)
    return np.where((reached.max(axis=1) >= 0) & (best != given), best, -1)


def find(quality: Quality) -> list[Suspect]:
    """Suspects among the sampled training rows, the clearest first. Classes with fewer than 10 sampled rows are left
    out: their thresholds mean nothing. Out-of-fold probabilities are those of extremely randomised trees."""
    frame = quality.frames["train"]
    scored = score(frame, np.arange(frame.num_rows) % FOLDS)  # the sample is in the order of its ranks: random
    if scored is None:
        return []
    names, coded, rows, probabilities = scored.names, scored.given, scored.rows, scored.probabilities
    suggested = confident(probabilities, coded)
    found = np.flatnonzero(suggested >= 0)
    margin = probabilities[found, suggested[found]] - probabilities[found, coded[found]]
    files, numbers = frame.column(FILE), frame.column(ROW)
    return [
        Suspect(
            file=files[int(rows[place])].as_py(),
            row=numbers[int(rows[place])].as_py(),
            label=str(names[coded[place]]),
            suggested=str(names[suggested[place]]),
            probability=round(float(probabilities[place, suggested[place]]), 4),
        )
        for place in found[np.argsort(-margin, kind="stable")].tolist()
    ]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Rows of classes that have enough of them."""

    names: NDArray[np.object_]
    """Of the classes."""
    rows: NDArray[np.int64]
    """Their places in the frame."""
    given: NDArray[np.int64]
    """The labels, as places in `names`."""
    probabilities: NDArray[np.float64]
    """[rows, classes], of models that have not seen the row."""


def score(frame: pa.Table, folds: NDArray[np.int64]) -> Scored | None:
    """Out-of-fold probabilities of extremely randomised trees; None where fewer than two classes have 10 rows.

    Args:
        frame: rows as `nasflow.preprocess.inspection` has them.
        folds: int64 [rows], below `FOLDS`: rows of one fold are judged by models of the others.
    """
    from sklearn.ensemble import ExtraTreesClassifier

    names, coded = np.unique(np.asarray(label(frame).to_pylist(), object), return_inverse=True)
    enough = np.bincount(coded) >= _LEAST_OF_CLASS
    rows = np.flatnonzero(enough[coded])
    names, folds = names[enough], folds[rows]
    if len(names) < 2 or len(np.unique(folds)) < 2:
        return None
    given = (np.cumsum(enough) - 1)[coded[rows]]
    seen = matrix(frame)[rows]
    at_once = max(math.isqrt(seen.shape[1]), min(seen.shape[1], _AT_A_SPLIT))
    probabilities = np.zeros((len(rows), len(names)))
    for fold in np.unique(folds):
        out = folds == fold
        model = ExtraTreesClassifier(_TREES, min_samples_leaf=2, max_features=at_once, random_state=0, n_jobs=1)
        model.fit(seen[~out], given[~out])
        answers = np.zeros((int(out.sum()), len(names)))
        answers[:, model.classes_] = model.predict_proba(seen[out])
        probabilities[out] = answers
    return Scored(names=names, rows=rows, given=given, probabilities=probabilities)


def matrix(frame: pa.Table) -> NDArray[np.float32]:
    """float32 [n, columns]: numbers (missing far below all others), categories by frequency, pixels of thumbnails,
    texts by latent semantic analysis."""
    parts = [_numbers(values(frame, name))[:, None] for name in features(frame)]
    if IMAGE in frame.column_names:
        pixels = np.frombuffer(b"".join(frame.column(IMAGE).to_pylist()), np.uint8)
        parts.append(pixels.reshape(-1, THUMBNAIL * THUMBNAIL).astype(np.float32))
    parts += [_topics(frame.column(PROSE + name).to_pylist()) for name in prose(frame)]
    return np.concatenate(parts, axis=1)


def finding(found: list[Suspect], sampled: int, *, dropped: bool) -> list[Finding]:
    """Nothing for no suspect."""
    if not found:
        return []
    first, listed = found[0], found[:_LISTED]
    return [
        Finding(
            severity="warning",
            kind="suspect_labels",
            text=f"{len(found):,} of {sampled:,} sampled training rows probably carry a wrong label, for example "
            f"{first.file} row {first.row}: {first.label!r}, more likely {first.suggested!r} "
            f"({first.probability:.0%}).",
            numbers={"rows": len(found), "sampled": sampled, "first": [dataclasses.asdict(row) for row in listed]},
            remedy=f"The {len(listed)} clearest are listed in statistics.json; look at them and correct the "
            "labels at their source, or leave the clearest out.",
            switch="" if dropped else "data.optimise.drop_suspect_labels: true",
        )
    ]


def _topics(texts: list[str | None]) -> NDArray[np.float32]:
    """float32 [n, _TOPICS or fewer]: TF-IDF of words, projected on its first singular vectors."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        weighed = TfidfVectorizer(max_features=_MOST_WORDS, sublinear_tf=True).fit_transform(
            text or "" for text in texts
        )
    except ValueError:  # no text has a word
        return np.zeros((len(texts), 1), np.float32)
    if weighed.shape[1] <= _TOPICS:
        return np.asarray(weighed.toarray(), np.float32)
    return np.asarray(TruncatedSVD(_TOPICS, random_state=0).fit_transform(weighed), np.float32)


def _numbers(column: Any) -> NDArray[np.float32]:
    if isinstance(column, pa.Array):
        return places(column).astype(np.float32)
    finite = np.isfinite(column)
    low = column[finite].min() if finite.any() else 0.0
    spread = column[finite].max() - low if finite.any() else 1.0
    limit = float(np.finfo(np.float32).max) / 4
    return np.clip(np.where(finite, column, low - spread - 1), -limit, limit).astype(np.float32)
