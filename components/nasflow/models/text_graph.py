"""Text to token ids inside the served graph: what `nasflow.data.tokens` does in NumPy, on the same integers."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nasflow.data.characters import LIMIT, SAME, characters
from nasflow.data.tokens import FIRST_ID, HASHED_LENGTH, PRIME, UNKNOWN_ID, hash_weights


class TextGraph(tf.Module):
    """One text column's way to ids."""

    def __init__(self, *, vocabulary: Sequence[str], buckets: int, length: int) -> None:
        super().__init__(name="text")
        self._buckets, self._length = buckets, length
        self._first_bucket = FIRST_ID + len(vocabulary)
        self._table = None
        if vocabulary:
            ids = tf.range(FIRST_ID, self._first_bucket, dtype=tf.int64)
            initializer = tf.lookup.KeyValueTensorInitializer(tf.constant(list(vocabulary), tf.string), ids)
            self._table = tf.lookup.StaticHashTable(initializer, default_value=UNKNOWN_ID)

    def __call__(self, texts: Any) -> Any:
        """UTF-8 strings [rows] → int32 [rows, length]. Bytes that are no UTF-8 count as U+FFFD."""
        tokens = tf.strings.split(folded(texts))
        return tf.ensure_shape(
            tokens.with_values(self._ids(tokens.values)).to_tensor(shape=[None, self._length]), [None, self._length]
        )

    def _ids(self, tokens: Any) -> Any:
        unknown = tf.fill(tf.shape(tokens), tf.constant(UNKNOWN_ID, tf.int64))
        found = unknown if self._table is None else self._table.lookup(tokens)
        if self._buckets:
            found = tf.where(found == UNKNOWN_ID, self._first_bucket + hashes(tokens) % self._buckets, found)
        return tf.cast(found, tf.int32)


def folded(texts: Any) -> Any:
    """Strings [rows] → strings [rows], in which only spaces stand between words."""
    table = characters()
    code_points = tf.strings.unicode_decode(texts, "UTF-8")
    inside = tf.gather(tf.constant(table.places), tf.minimum(code_points.values, LIMIT - 1))
    places = tf.where(code_points.values < LIMIT, inside, 1)
    lengths = tf.gather(tf.constant(table.lengths), places)
    first = tf.cumsum(lengths, exclusive=True)
    offsets = tf.gather(tf.constant(table.starts[:-1]), places) - first
    flat = tf.gather(tf.constant(table.flat), tf.repeat(offsets, lengths) + tf.range(tf.reduce_sum(lengths)))
    flat = tf.where(flat == SAME, tf.repeat(code_points.values, lengths), flat)
    ends = tf.concat([[0], tf.cumsum(lengths)], 0)
    splits = tf.gather(ends, code_points.row_splits)
    ragged = tf.RaggedTensor.from_row_splits(flat, tf.cast(splits, tf.int64), validate=False)
    return tf.strings.unicode_encode(ragged, "UTF-8")


def hashes(tokens: Any) -> Any:
    """Strings [tokens] → int64 [tokens], as `nasflow.data.tokens.hashes`."""
    code_points = tf.strings.unicode_decode(tokens, "UTF-8")[:, :HASHED_LENGTH]
    places = tf.ragged.range(code_points.row_lengths()).values
    weighed = tf.cast(code_points.values, tf.int64) * tf.gather(tf.constant(hash_weights()), places)
    return tf.reduce_sum(code_points.with_values(weighed), axis=1) % PRIME
