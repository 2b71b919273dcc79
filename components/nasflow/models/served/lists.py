"""Lists of categories in the served graph: `nasflow.data.transforms.lists`."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from nasflow.data.schema import LIST_SEPARATOR
from nasflow.data.transforms._base import MISSING_ID, UNKNOWN_ID
from nasflow.data.transforms.lists import ListTransform
from nasflow.models.served._base import Slots
from nasflow.models.served.categorical import Vocabulary


class ServedLists(tf.Module):
    """Joined elements → columns of 0.0 and 1.0."""

    def __init__(self, columns: tuple[ListTransform, ...]) -> None:
        super().__init__(name="lists")
        self._columns = columns
        self._tables = [Vocabulary(column.vocabulary, column.oov_buckets) for column in columns]

    def __call__(self, raw: Mapping[str, Any]) -> Slots:
        pairs = zip(self._columns, self._tables, strict=True)
        return {"plain": tf.concat([_multi_hot(raw[column.name], column, table) for column, table in pairs], axis=1)}


def _multi_hot(texts: Any, column: ListTransform, table: Vocabulary) -> Any:
    elements = tf.strings.split(texts, sep=LIST_SEPARATOR)
    ids = tf.cast(table.ids(elements.flat_values), tf.int64)
    size = tf.constant(len(column.vocabulary), tf.int64)
    inside = ids - UNKNOWN_ID - 1
    places = tf.where(ids > UNKNOWN_ID + size, ids - UNKNOWN_ID, tf.where(tf.equal(ids, UNKNOWN_ID), size, inside))
    named = tf.not_equal(ids, MISSING_ID)
    where = tf.stack([elements.value_rowids(), places], axis=1)
    shape = tf.stack([tf.shape(texts, tf.int64)[0], column.width])
    counts = tf.scatter_nd(
        tf.boolean_mask(where, named), tf.ones(tf.math.count_nonzero(named)[None], tf.float32), shape
    )
    return tf.ensure_shape(tf.minimum(counts, 1.0), [None, column.width])
