"""Which words and n-grams a linear model looks at, and their inverse document frequencies: counted on the training rows
before a training begins.

Both are weights of the network that no gradient changes (layers whose names end as `nasflow.models.layers.ngrams`
says), so a saved model holds them. N-grams of one hash are one feature everywhere.
"""

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from nasflow.data.tensors import Tensors
from nasflow.models.layers.ngrams import IDF, PLACES

LEAST_ROWS = 2
"""What is in fewer training rows says nothing of others."""
_CHUNK = 4096


def counted(model: keras.Model, train: Tensors) -> keras.Model:
    """The model, which knows its features now: those in most rows, and in `LEAST_ROWS` at least, ties by place, as many
    as there is room for. Each has ln((1 + rows) / (1 + rows with it)) + 1, scikit-learn's smoothed idf. Rows
    count alike, whatever they weigh. A model without such layers stays as it is."""
    for layer in model.layers:
        if not (layer.name.endswith(PLACES) and isinstance(layer, keras.layers.Embedding)):
            continue
        idf = model.get_layer(layer.name.removesuffix(PLACES) + IDF)
        found = _document_frequencies(keras.Model(model.input, layer.input), train, layer.input_dim)
        found[0] = 0
        best = np.argsort(-found, kind="stable")[: idf.input_dim - 1]
        best = best[found[best] >= LEAST_ROWS]
        feature, value = np.zeros((len(found), 1), np.float32), np.zeros((idf.input_dim, 1), np.float32)
        feature[best, 0] = np.arange(1, len(best) + 1)
        value[1 : len(best) + 1, 0] = np.log((1 + train.rows) / (1 + found[best])) + 1
        layer.set_weights([feature])
        idf.set_weights([value])
    return model


def _document_frequencies(places: keras.Model, train: Tensors, count: int) -> NDArray[np.int64]:
    """int64 [count]: in how many rows each place is."""
    rows, total = train.only(places.input), np.zeros(count, np.int64)
    for start in range(0, rows.rows, _CHUNK):
        part = {name: tf.constant(values[start : start + _CHUNK]) for name, values in rows.inputs.items()}
        found = np.sort(places(part).numpy(), axis=1)
        first = np.ones(found.shape, bool)
        first[:, 1:] = found[:, 1:] != found[:, :-1]
        total += np.bincount(found[first], minlength=count)
    return total
