"""Texts in the served graph: `nasflow.data.transforms.text`."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from nasflow.data.tensors import TEXT
from nasflow.data.transforms.text import TextTransform
from nasflow.models.served._base import Slots
from nasflow.models.text_graph import TextGraph


class ServedTexts(tf.Module):
    """Text → ids of its first tokens, a tensor a column."""

    def __init__(self, columns: tuple[TextTransform, ...]) -> None:
        super().__init__(name="texts")
        self._columns = columns
        self._graphs = [
            TextGraph(vocabulary=column.vocabulary, buckets=column.buckets, length=column.length) for column in columns
        ]

    def __call__(self, raw: Mapping[str, Any]) -> Slots:
        return {
            f"{TEXT}{column.place}": graph(raw[column.name])
            for column, graph in zip(self._columns, self._graphs, strict=True)
        }
