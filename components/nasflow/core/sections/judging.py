"""`train` and `evaluate`: the final training, and what decides whether its model is promoted."""

from typing import Annotated, Literal

from pydantic import Field

from nasflow.core.sections._base import Section


class TrainSection(Section):
    """The final training."""

    seeds: Annotated[int, Field(ge=1, le=20)] = 2
    """Each candidate is trained with so many seeds; mean − standard deviation on validation chooses."""
    candidates: Annotated[int, Field(ge=1, le=10)] = 1
    """How many of the search's best are compared."""
    members: Annotated[int, Field(ge=1, le=10)] = 1
    """Networks of the chosen architecture in the model, trained with different seeds; it answers with their mean. As
    many times the parameters, the size and the time of a prediction: limits count all of them."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Epochs of a final training; left out: 1.5 × those of a trial."""
    litert: bool = False
    """Also write the network for LiteRT (TensorFlow Lite), as `network.tflite` in the bundle: tensors in, logits out.
    It is compared with the Keras model, and left out with a warning where it cannot be made or answers otherwise."""


class EvaluateSection(Section):
    """What decides whether the model is promoted."""

    baseline: Literal["hand_made"] = "hand_made"
    """The network of a careful hour's work, trained on the same data. For tables a boosted tree ensemble is reported
    beside it."""
    min_gain: float = 0.0
    """The model is promoted if it is better than the baseline by at least this much, in the objective's units; a
    negative number accepts a model that is that much worse."""
    min_gain_champion: float = 0.0
    """Where the registry has a champion, the model must also be better than it by at least this much, on the same test
    rows. A champion of other columns or classes cannot be compared and does not decide."""
    compare_optimised: bool = False
    """Whether `data.optimise` helped: preprocess also keeps the data as it was, evaluate trains the same architecture
    on it, and both are judged on the same test rows. Informs; does not decide. Costs a second pass over the data and
    one training."""
    bootstrap: Annotated[int, Field(ge=100, le=100_000)] = 1000
    """Resamples behind each 95 % interval."""
