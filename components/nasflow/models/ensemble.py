"""Several trained networks as one model that answers with their mean (deep ensembles, Lakshminarayanan et al. 2017).

The mean of logits: after the softmax, the geometric mean of the members' probabilities. The paper has the arithmetic
one; ours stays a graph of plain layers that ends in logits, like every other model here, for export, ONNX and server.
"""

from collections.abc import Sequence

import keras

NAME = "member_{}"


def mean_of(models: Sequence[keras.Model]) -> keras.Model:
    """One model of the same inputs and output; a single one as it is. The members are its parts, not copies.

    Raises:
        ValueError: there are none.
    """
    if not models:
        raise ValueError("an ensemble of no models")
    if len(models) == 1:
        return models[0]
    first = models[0]
    inputs = {name: keras.Input(each.shape[1:], name=name, dtype=each.dtype) for name, each in first.input.items()}
    answers = []
    for number, model in enumerate(models, start=1):
        model.name = NAME.format(number)
        answers.append(model(inputs))
    return keras.Model(inputs, keras.layers.Average(name="output", dtype="float32")(answers))
