"""Categories in the served graph: `nasflow.data.transforms.categorical`."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from nasflow.data.transforms._base import FIRST_ID, MISSING_ID, UNKNOWN_ID
from nasflow.data.transforms.categorical import CategoricalTransform
from nasflow.models.served._base import Slots


class ServedCategories(tf.Module):
    """Text → ids, by a table a column."""

    def __init__(self, columns: tuple[CategoricalTransform, ...]) -> None:
        super().__init__(name="categories")
        self._columns = columns
        self._tables = [_table(column) for column in columns]

    def __call__(self, raw: Mapping[str, Any]) -> Slots:
        pairs = zip(self._columns, self._tables, strict=True)
        ids = [tf.cast(table.lookup(raw[column.name]), tf.int32) for column, table in pairs]
        return {"categorical": tf.stack(ids, axis=1)}


def _table(column: CategoricalTransform) -> Any:
    ids = {text: place for place, text in enumerate(column.vocabulary, start=FIRST_ID)} | {"": MISSING_ID}
    initializer = tf.lookup.KeyValueTensorInitializer(list(ids), list(ids.values()), tf.string, tf.int64)
    return tf.lookup.StaticHashTable(initializer, default_value=UNKNOWN_ID)
