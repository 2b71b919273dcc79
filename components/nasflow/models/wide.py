"""How the tables of linear models on sparse features are trained: by plain gradient descent on the rows of a batch.

Adam moves the weight of a word that two texts have as far as that of one in a thousand, which is what regularisation is
there to prevent; gradient descent from zero moves it by what its texts say. Stopped after a time, it is L2-regularised:
with the mean loss of n rows, T the sum of all steps' rates is a penalty of |w|² / 2T (for least squares nearly exactly:
Ali, Kolter, Tibshirani 2019, "A Continuous-Time View of Early Stopping for Least Squares", §3), and scikit-learn's
C = T / n. So T follows from C, and the rate from T and the steps. It touches the rows of the table that a batch has,
where Adam touches all of them: the time of a step does not grow with the vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from nasflow.models.layers.ngrams import SQUARE, WIDE

_MEAN = 0.51
"""Of the schedule ``one_cycle`` over its steps, in shares of its peak; of a cosine it is 0.5."""


def wide_tables(model: keras.Model) -> list[Any]:
    """The tables' variables."""
    return [weight for layer in model.layers if layer.name.endswith(WIDE) for weight in layer.trainable_weights]


def peak_rate(*, rows: int, batch: int, steps: int, regression: bool) -> float:
    """Of the whole training's `steps` with `rows` training rows, for vectors of a squared length of `SQUARE` times C.

    At most such that at C = 10 one text alone moves its own answer by no more than its error; a shorter training is
    then a stronger regularisation. The slope of a squared error is twice the difference, so half the rate is the same.

    >>> round(peak_rate(rows=10_000, batch=64, steps=2340, regression=False), 3)  # 15 epochs
    0.64
    >>> round(peak_rate(rows=1_000, batch=64, steps=900, regression=False), 3)  # 60 epochs
    0.218
    """
    rate = min(rows / (_MEAN * max(1, steps) * SQUARE), batch / (10 * SQUARE))
    return rate / 2 if regression else rate


def descend(tables: Sequence[Any], slopes: Sequence[Any], rate: Any) -> None:
    """One step; slopes are dense or of rows (`tf.IndexedSlices`)."""
    for table, slope in zip(tables, slopes, strict=True):
        if isinstance(slope, tf.IndexedSlices):
            table.scatter_sub(tf.IndexedSlices(rate * slope.values, slope.indices))
        else:
            table.assign_sub(rate * slope)
