"""How fast a Dataset is read for training, and how long training waits for its input.

python preprocess_reading.py DOCUMENT            # a preprocess step's output; prints JSON
python preprocess_reading.py DOCUMENT --wait     # trains a small network on it, too; imports TensorFlow
"""

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from nasflow.core.artifacts import Dataset
from nasflow.data.reader import read, read_transform


def reading(dataset: Dataset) -> dict[str, float]:
    """Rows of the training split a CPU-second, files in the page cache, digests checked: the best of five."""
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        found = read(dataset, "train")
        best = min(best, time.process_time() - start)
    row_bytes = sum(values.nbytes for values in found.inputs.values()) / found.rows
    return {"rows": found.rows, "rows_per_cpu_second": found.rows / best, "tensor_bytes_a_row": row_bytes}


def waiting(dataset: Dataset) -> dict[str, float]:
    """Share of an epoch's wall time in which the network waits for rows: what shuffling and gathering them takes in
    `nasflow.models.rows`. An `mlp` by its first preset; its second epoch, without validation."""
    from nasflow.models import rows as module
    from nasflow.models.build import build
    from nasflow.models.fit import fit
    from nasflow.spaces.registry import get_space

    transform = read_transform(dataset)
    space = get_space("mlp", task="tabular_classification", inputs=transform.inputs, output=transform.output)
    architecture = space.architecture(space.presets()[0])
    spent = [0.0]
    chunks = module.Rows.chunks

    def timed(*given: Any) -> Iterator[Any]:
        found = iter(chunks(*given))
        while True:
            start = time.perf_counter()
            chunk = next(found, None)
            spent[-1] += time.perf_counter() - start
            if chunk is None:
                return
            yield chunk

    module.Rows.chunks = timed  # the one place where rows are handed over
    model = build(architecture, transform.inputs, transform.output)
    data = read(dataset, "train").take(slice(0, 200_000)).only(model_inputs(model))

    def next_epoch(_: Any) -> bool:
        spent.append(0.0)
        return True

    epochs = fit(model, architecture.recipe, data, output=transform.output, epochs=2, seed=0, on_epoch=next_epoch)
    return {"waiting_share": spent[1] / epochs[1].seconds, "epoch_rows": data.rows, "epoch_seconds": epochs[1].seconds}


def model_inputs(model: Any) -> list[str]:
    """Names of the tensors that a model looks at."""
    return [tensor.name for tensor in model.inputs]


def main() -> None:
    dataset = Dataset.read(sys.argv[1])
    found = reading(dataset)
    if "--wait" in sys.argv:
        found |= waiting(dataset)
    print(json.dumps({key: float(np.round(value, 4)) for key, value in found.items()}))


if __name__ == "__main__":
    main()
