"""Whether `data.optimise` helped: the model's own architecture, trained on the data as it was.

Seed, epochs and recipe are the model's; only the rows, the columns that the remedies hide and the class weights differ.
The architecture was searched on the optimised data, which favours it a little. Test rows are the same in both.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.artifacts import Dataset, Model, Original
from nasflow.core.errors import NasflowError, TrialFailedError
from nasflow.core.spec import Metric
from nasflow.core.workspace import Place
from nasflow.data.reader import read, read_transform
from nasflow.data.tensors import Tensors
from nasflow.evaluate.champion import IncomparableError

Array = NDArray[Any]


def learning_rows(dataset: Dataset) -> int:
    """What the final training sees."""
    return dataset.rows["train"] + dataset.rows["validation"]


def predictions(dataset: Dataset, model: Model, test: Tensors, place: Place) -> Array:
    """What the architecture says of the test rows when it has learned from the original data: as `predict`.

    Args:
        dataset: the optimised one.
        model: trained on it.
        test: its test rows.
        place: a killed training goes on from there.

    Raises:
        IncomparableError: the test rows differ, or the architecture does not fit the original columns.
    """
    from nasflow.models.build import build
    from nasflow.models.ensemble import mean_of
    from nasflow.models.fit import fit
    from nasflow.models.predict import predict
    from nasflow.spaces.architecture import Architecture

    original = Dataset.read(dataset.original_uri)
    transform, optimised = read_transform(original), read_transform(dataset)
    if transform.label.classes != optimised.label.classes:
        raise IncomparableError(
            f"the original data has the classes {_some(transform.label.classes)}, the optimised "
            f"{_some(optimised.label.classes)}"
        )
    rows = read(original, "test")
    if not np.array_equal(rows.labels, test.labels):
        raise IncomparableError("the test rows of the original data are others")
    if "architecture.json" not in model.files:
        raise IncomparableError(f"the Model was made by {model.producer}, which kept no architecture; train it again")
    architecture = Architecture.from_json(model.json("architecture.json"))
    learned = read(original, "train").join(read(original, "validation"))
    networks = []
    try:
        for number in range(model.members):
            network = build(architecture, transform.inputs, transform.output, seed=model.seed + number)
            fit(
                network,
                architecture.recipe,
                learned,
                output=transform.output,
                epochs=model.epochs,
                seed=model.seed + number,
                backup_path=place.at("backup", "original", str(number)),
            )
            networks.append(network)
    except (TrialFailedError, NasflowError, ValueError) as error:
        raise IncomparableError(f"the architecture cannot learn from the original columns ({error})") from error
    return np.asarray(predict(mean_of(networks), rows, transform.output))


def sentences(found: Original, metric: Metric) -> list[str]:
    """What it means, for the decision's reasons; it does not enter the decision."""
    what = f"data.optimise ({', '.join(found.remedies)})"
    if found.problem:
        return [f"Whether {what} helped cannot be said: {found.problem}."]
    if found.gain is None:
        return [f"Whether {what} helped cannot be said: {metric} has no value."]
    low, high = found.gain.ci95
    sure = low > 0 or high < 0
    verdict = "helped" if found.gain.value > 0 else "harmed" if found.gain.value < 0 else "changed nothing"
    said = (
        f"{what} {verdict if sure else 'made no difference that these test rows can show'}: against the same "
        f"architecture trained on the data as it was ({found.rows[1]:,} rows instead of {found.rows[0]:,}) the gain in "
        f"{metric} is {found.gain.value:+.4g} (paired 95 % interval {low:+.4g} to {high:+.4g}). It does not enter the "
        "decision."
    )
    if "drop_leaks" in found.remedies and found.gain.value < 0:
        said += " A column that gives the answer away was hidden: without it the score is lower, and honest."
    return [said]


def _some(classes: tuple[str, ...] | None) -> str:
    return "none" if classes is None else ", ".join(classes[:10]) + (", …" if len(classes) > 10 else "")
