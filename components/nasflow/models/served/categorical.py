"""Categories in the served graph: `nasflow.data.transforms.categorical`."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from nasflow.data.transforms._base import FIRST_ID, MISSING_ID, UNKNOWN_ID
from nasflow.data.transforms.categorical import CategoricalTransform
from nasflow.models.served._base import Slots
from nasflow.models.served.hashing import buckets_of


class ServedCategories(tf.Module):
    """Text → ids, by a table a column, and by hash where the table does not know the text."""

    def __init__(self, columns: tuple[CategoricalTransform, ...]) -> None:
        super().__init__(name="categories")
        self._columns = columns
        self._tables = [Vocabulary(column.vocabulary, column.oov_buckets) for column in columns]

    def __call__(self, raw: Mapping[str, Any]) -> Slots:
        pairs = zip(self._columns, self._tables, strict=True)
        return {"categorical": tf.stack([table.ids(raw[column.name]) for column, table in pairs], axis=1)}


class Vocabulary(tf.Module):
    """`nasflow.data.transforms.categorical.outside_and_inside`, and 0 for ""."""

    def __init__(self, vocabulary: tuple[str, ...], oov_buckets: int) -> None:
        super().__init__(name="vocabulary")
        self._size, self._buckets = len(vocabulary), oov_buckets
        ids = {text: place for place, text in enumerate(vocabulary, start=FIRST_ID)} | {"": MISSING_ID}
        initializer = tf.lookup.KeyValueTensorInitializer(list(ids), list(ids.values()), tf.string, tf.int64)
        self._table = tf.lookup.StaticHashTable(initializer, default_value=UNKNOWN_ID)

    def ids(self, texts: Any) -> Any:
        """int32 [n] of strings [n]."""
        ids = self._table.lookup(texts)
        if self._buckets > 1:
            bucket = buckets_of(texts, self._buckets)
            further = tf.where(bucket > 0, bucket + self._size + UNKNOWN_ID, tf.constant(UNKNOWN_ID, tf.int64))
            ids = tf.where(tf.equal(ids, UNKNOWN_ID), further, ids)
        return tf.cast(ids, tf.int32)
