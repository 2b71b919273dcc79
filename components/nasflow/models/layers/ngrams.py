"""Keras layers on n-grams of tokens: their embeddings, and a linear model on their TF-IDF.

An n-gram is the hash of n token ids, as in fastText (Joulin et al. 2017, §2.1); it is computed inside the network, so
shards and servers hold token ids only, and `.keras`, SavedModel and ONNX say the same.
"""

import math
from types import MappingProxyType
from typing import Any

import keras

from nasflow.data.tensors import text_place
from nasflow.data.tokens import FIRST_ID
from nasflow.models.layers._base import Makers, Site
from nasflow.models.layers.masking import held, product, summed

PLACES, IDF, WIDE = "_features", "_idf", "_wide"
"""How names of layers end: whose weights say which feature a hash is, and what its inverse document frequency is (for
`nasflow.models.ngram_features` to count), and whose are a linear model on sparse features (for `nasflow.models.wide`).
"""
SQUARE = 10.0
"""The squared length of a text's vector is this times the strength."""
_FACTOR = 31_393
"""A prime. Times 65,536, plus an id, it fits an int32."""
_WIDE_BUCKETS, _WIDE_FACTOR = 262_139, 7_919
"""Primes, and a product that fits an int32."""
_COUNTED = 512
"""In longer texts each occurrence counts by itself: to tell repetitions takes the square of the length."""


def hashed(ids: Any, n: int, buckets: int, name: str, *, factor: int = _FACTOR) -> Any:
    """int32 [rows, length] → the same: 0 ≤ bucket of the n ids from each place on; behind the end ids are 0.

    h = (h · factor + id) mod buckets.
    """
    length = ids.shape[1]
    padded = keras.ops.pad(ids, [[0, 0], [0, n - 1]])
    found = keras.ops.mod(ids, buckets)
    for place in range(1, n):
        shifted = summed(
            f"{name}_{place}", product(f"{name}_{place}_shift", found, factor), padded[:, place : place + length]
        )
        found = keras.ops.mod(shifted, buckets)
    return found


def _embedding(site: Site) -> Any:
    (ids,) = site.sources
    n, buckets = site.settings["n"], site.settings["buckets"]
    table = keras.layers.Embedding(buckets, site.settings["dim"], name=site.name)
    return held(table(hashed(ids, n, buckets, site.name)), _last(ids, n), site.name)


def _linear(site: Site) -> Any:
    """What logistic or ridge regression on TF-IDF is, trained with the rest of the network (the wide part of Cheng et
    al. 2016, "Wide & Deep", §3.1, with tf-idf instead of indicators).

    A text's vector has for each of its words and n-grams (1 + ln tf) · idf, and the length √(10 · strength); words that
    the vocabulary lacks are left out, and what is with them. Those in most training rows are the features, as many as
    `features` says (`nasflow.models.ngram_features`); n-grams are known by one of 262,139 hashes. One table has a
    weight for each feature and class, zero at the start; its row 0 is the bias. `strength` is scikit-learn's C: how it
    becomes one, and how the table is trained, says `nasflow.models.wide`.
    """
    (ids,) = site.sources
    settings, name = site.settings, site.name
    known = keras.ops.cast(keras.ops.greater_equal(ids, FIRST_ID), "int32")
    blocks, first, seen = (
        [product(f"{name}_known", ids, known)],
        site.inputs.texts[text_place(settings["tensor"])].ids,
        known,
    )
    for n in range(2, settings["most"] + 1):
        seen = product(f"{name}_seen_{n}", seen, _last(known, n))
        bucket = hashed(ids, n, _WIDE_BUCKETS, f"{name}_{n}", factor=_WIDE_FACTOR)
        # Not `+ first`: Keras would number its own `add`, as the architecture may call another node.
        blocks.append(product(f"{name}_{n}_held", keras.ops.subtract(bucket, -first), seen))
        first += _WIDE_BUCKETS
    places = keras.layers.Concatenate(name=f"{name}_places")(blocks) if len(blocks) > 1 else blocks[0]
    features = _constant(first, f"{name}{PLACES}", places, dtype="float32")
    features = keras.ops.cast(keras.ops.squeeze(features, -1), "int32")
    idf = _constant(settings["features"], f"{name}{IDF}", features)
    there = keras.ops.cast(keras.ops.not_equal(features, 0), idf.dtype)
    one = product(f"{name}_there", keras.ops.squeeze(idf, -1), there)
    times = _times(blocks, idf.dtype, f"{name}_times")
    each = (
        one if times is None else product(f"{name}_each", one, keras.ops.subtract(keras.ops.log(times), -1.0) / times)
    )
    squares = keras.ops.square(each) if times is None else product(f"{name}_squares", keras.ops.square(each), times)
    norm = keras.ops.sqrt(keras.ops.maximum(keras.ops.sum(squares, axis=1, keepdims=True), 1e-2))
    weights = each / (norm / math.sqrt(SQUARE * settings["strength"]))
    if settings["dropout"]:
        weights = keras.layers.Dropout(settings["dropout"], name=f"{name}_dropout")(weights)
    bias = keras.ops.zeros_like(features[:, :1])
    units = site.output.classes or 1
    table = keras.layers.Embedding(settings["features"], units, embeddings_initializer="zeros", name=f"{name}{WIDE}")
    rows = table(keras.layers.Concatenate(axis=1, name=f"{name}_rows")([bias, features]))
    counts = keras.layers.Concatenate(axis=1, name=f"{name}_counts")([keras.ops.ones_like(weights[:, :1]), weights])
    return keras.layers.Dot(axes=1, name=name)([counts, rows])


def _constant(rows: int, name: str, places: Any, dtype: str | None = None) -> Any:
    """A number for each place, which no gradient changes; 0 until it is counted."""
    return keras.layers.Embedding(rows, 1, embeddings_initializer="zeros", trainable=False, name=name, dtype=dtype)(
        places
    )


def _times(blocks: list[Any], dtype: str, name: str) -> Any:
    """Floats [rows, places]: how often each place's feature is in its text, ≥ 1; None for long texts."""
    if blocks[0].shape[1] > _COUNTED:
        return None
    found = []
    for block in blocks:
        same = keras.ops.equal(keras.ops.expand_dims(block, 1), keras.ops.expand_dims(block, 2))
        found.append(keras.ops.sum(keras.ops.cast(same, dtype), axis=2))
    return keras.layers.Concatenate(name=name)(found) if len(found) > 1 else found[0]


def _last(ids: Any, n: int) -> Any:
    """The id n − 1 places on; 0 behind the end."""
    length = ids.shape[1]
    return keras.ops.pad(ids, [[0, 0], [0, n - 1]])[:, n - 1 : n - 1 + length]


MAKERS: Makers = MappingProxyType({"ngram_embedding": _embedding, "ngram_linear": _linear})
