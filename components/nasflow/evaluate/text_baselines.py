"""Baselines where rows have texts, or several kinds of input: an averaged-embedding network, and TF-IDF with a linear
model."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.data.tensors import InputSpec, OutputSpec, Tensors, text_tensors
from nasflow.data.tokens import FIRST_ID
from nasflow.evaluate import baselines

Array = NDArray[Any]

EMBEDDING = 64
_BIGRAM_BUCKETS = 1 << 18
_FACTOR = 31_393
_STRENGTHS = (1.0, 3.0, 10.0, 30.0)
_LEAST_ROWS = 2
"""A word, or a pair of words, counts from so many training rows on."""
_MOST_ROWS = 200_000
"""The linear model learns from so many rows at most, drawn at random."""


def text_network(inputs: InputSpec, output: OutputSpec) -> Any:
    """Embeddings of 64 numbers averaged over each text's tokens, joined with what the image network and the table
    network make of the other columns before their last layer; dropout 0.3, dense 64, output."""
    from keras import Model, layers

    tensors: dict[str, Any] = {}
    parts = []
    for name, text in zip(text_tensors(inputs), inputs.texts, strict=True):
        tensors[name] = layers.Input((text.length,), dtype="int32", name=name)
        embedded = layers.Embedding(text.ids, EMBEDDING, mask_zero=True)(tensors[name])
        parts.append(layers.GlobalAveragePooling1D()(embedded))
    if inputs.image is not None:
        tower = baselines.image_network(inputs, output)
        tensors |= tower.input
        parts.append(tower.layers[-2].output)
    if inputs.numeric or inputs.plain or inputs.cardinalities:
        tower = baselines.table_network(inputs, output)
        tensors |= tower.input
        parts.append(tower.layers[-2].output)
    x = layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    x = layers.Dense(64, activation="relu")(layers.Dropout(0.3)(x))
    return Model(tensors, layers.Dense(output.classes or 1)(x))


def tfidf_linear(
    train: Tensors, validation: Tensors, test: Tensors, *, inputs: InputSpec, output: OutputSpec, seed: int
) -> Array:
    """scikit-learn's logistic (or ridge) regression on TF-IDF of words and pairs of words of the texts, sublinear and
    of unit length; predictions as `baselines.hand_made`.

    It sees the tokens that the network sees: those of the vocabulary, up to the length that texts are cut to. How
    strongly it is regularised is chosen on the validation rows among four; then it learns from both splits.
    """
    from scipy import sparse
    from sklearn.feature_extraction.text import TfidfTransformer

    rng = np.random.default_rng(seed)
    if train.rows > _MOST_ROWS:
        train = train.take(np.sort(rng.choice(train.rows, _MOST_ROWS, replace=False)))
    counts = {split: _counts(rows, inputs) for split, rows in (("train", train), ("validation", validation))}

    def weigh(fitted_on: Any) -> Any:
        return TfidfTransformer(sublinear_tf=True).fit(fitted_on)

    # Words and pairs that are in no training row have no weight: most of the buckets would only cost time.
    used = np.flatnonzero(np.asarray((counts["train"] > 0).sum(axis=0)).ravel() >= _LEAST_ROWS)
    counts = {split: found[:, used] for split, found in counts.items()}
    tfidf = weigh(counts["train"])
    first, second = tfidf.transform(counts["train"]), tfidf.transform(counts["validation"])
    losses = [
        _loss(_fitted(strength, first, train.labels, output), second, validation.labels, output)
        for strength in _STRENGTHS
    ]
    strength = _STRENGTHS[int(np.argmin(losses))]
    both, rows = sparse.vstack([counts["train"], counts["validation"]]).tocsr(), train.join(validation)
    tfidf = weigh(both)
    model = _fitted(strength, tfidf.transform(both), rows.labels, output)
    return _answers(model, tfidf.transform(_counts(test, inputs)[:, used]), output)


def _counts(rows: Tensors, inputs: InputSpec) -> Any:
    """Sparse [rows, features]: for each text column counts of its vocabulary, then of its pairs of words, hashed."""
    from scipy import sparse

    parts = []
    for name, text in zip(text_tensors(inputs), inputs.texts, strict=True):
        ids = rows.inputs[name].astype(np.int64)
        known = ids >= FIRST_ID
        parts.append(_matrix(known, ids, text.ids))
        pairs = (ids[:, :-1] * _FACTOR + ids[:, 1:]) % _BIGRAM_BUCKETS
        parts.append(_matrix(known[:, :-1] & known[:, 1:], pairs, _BIGRAM_BUCKETS))
    return sparse.hstack(parts).tocsr()


def _matrix(present: NDArray[np.bool_], columns: NDArray[np.int64], width: int) -> Any:
    from scipy import sparse

    row, place = np.nonzero(present)
    ones = np.ones(len(row), np.float64)
    return sparse.csr_matrix((ones, (row, columns[row, place])), shape=(len(present), width))


def _fitted(strength: float, features: Any, labels: Array, output: OutputSpec) -> Any:
    from sklearn.linear_model import LogisticRegression, Ridge

    if output.classes is None:
        return Ridge(alpha=1 / strength).fit(features, labels)
    return LogisticRegression(C=strength, max_iter=1000).fit(features, labels)


def _answers(model: Any, features: Any, output: OutputSpec) -> Array:
    if output.classes is None:
        return np.asarray(model.predict(features), np.float64)
    probabilities = np.zeros((features.shape[0], output.classes))
    probabilities[:, model.classes_] = model.predict_proba(features)
    return probabilities


def _loss(model: Any, features: Any, labels: Array, output: OutputSpec) -> float:
    answers = _answers(model, features, output)
    if output.classes is None:
        return float(np.square(answers - labels).mean())
    return float(-np.log(np.maximum(answers[np.arange(len(labels)), labels], 1e-7)).mean())
