"""What the model says of the test rows, as histograms: what `nasflow monitor` holds served predictions against."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.data.histogram import histogram, predicted
from nasflow.serving.request_log import loggable

Array = NDArray[Any]


def reference(
    predictions: Array, images: Array | None, *, image: str, classes: tuple[str, ...] | None
) -> dict[str, Any]:
    """JSON-safe. ``predictions``: a histogram of each column of `predicted`. ``columns``: of what a request log keeps
    of an image; those of a table's features are in the Dataset's statistics.
    """
    columns = {} if images is None else loggable({image: images}, slice(None))
    return {
        "predictions": {name: histogram(values) for name, values in predicted(predictions, classes).items()},
        "columns": {name: histogram(np.asarray(values, np.float64)) for name, values in columns.items()},
    }
