"""What the model must beat: the network of a careful hour's work and, for tables, boosted trees.

Both learn from the rows that the model learned from, and are trained with settings that a practitioner would take
without any search.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.data.tensors import InputSpec, OutputSpec, Tensors
from nasflow.spaces.multimodal import kinds

Array = NDArray[Any]

BATCH = 128
IMAGE_ROUNDS, IMAGE_STEPS = 10, 5_000
TABLE_ROUNDS, TABLE_STEPS = 100, 500
TABLE_PATIENCE = 10
_MOST_FLATTENED_SIDE = 16
_ONE_HOT_CARDINALITY = 64
_MOST_TREE_CATEGORIES = 255


def hand_made(
    train: Tensors, validation: Tensors, test: Tensors, *, inputs: InputSpec, output: OutputSpec, seed: int
) -> Array:
    """Trains the network and predicts the test rows: probabilities float64 [rows, classes], or targets [rows].

    Images: `image_network`, 10 epochs on train + validation. Tables: `table_network` on train, at most 100 epochs,
    stopped after 10 without progress on validation, best weights kept. Texts, and several kinds of input:
    `text_baselines.text_network`, trained like tables.

    On many rows an epoch is a round of 500 steps (64,000 rows; of images alone 5,000 steps, 640,000 rows), each going
    on where the one before it stopped: what decides when to stop is looked at as often as on a small table, and no
    baseline sees more than 6.4 million rows. `effort` says it in words.
    """
    import keras

    keras.utils.set_random_seed(seed)
    options: dict[str, Any]
    if _images_alone(inputs):
        model, rows, options = image_network(inputs, output), train.join(validation), {"epochs": IMAGE_ROUNDS}
    else:
        stop = keras.callbacks.EarlyStopping(patience=TABLE_PATIENCE, restore_best_weights=True)
        from nasflow.evaluate.text_baselines import text_network

        make = table_network if kinds(inputs) == ("table",) else text_network
        model, rows = make(inputs, output), train
        held_out = (dict(validation.only(model.input).inputs), _targets(validation, output), _weights(validation))
        options = {"epochs": TABLE_ROUNDS, "callbacks": [stop], "validation_data": held_out}
    if _round(inputs, rows.rows) < rows.rows:
        options |= {"steps_per_epoch": _round(inputs, rows.rows) // BATCH, "validation_batch_size": 32 * BATCH}
    regression = output.classes is None
    loss = "mse" if regression else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=loss)
    with warnings.catch_warnings():
        # The last round of a pass over the rows is shorter; the next one begins a new pass.
        warnings.filterwarnings("ignore", "Your input ran out of data", UserWarning)
        model.fit(
            dict(rows.only(model.input).inputs),
            _targets(rows, output),
            sample_weight=_weights(rows),
            batch_size=BATCH,
            verbose=0,
            **options,
        )
    raw = np.asarray(model.predict(dict(test.only(model.input).inputs), batch_size=1024, verbose=0), np.float64)
    return raw[:, 0] * output.std + output.mean if regression else _softmax(raw)


def effort(inputs: InputSpec, splits: Mapping[str, int]) -> str:
    """How the hand-made network is trained on splits of so many rows, in words.

    >>> effort(InputSpec(numeric=3), {"train": 50_000})
    'at most 100 epochs, fewer where 10 bring nothing on the validation rows'
    >>> effort(InputSpec(numeric=3), {"train": 800_000})[:58]
    'at most 100 rounds of 64,000 of the 800,000 rows (8 passes'
    """
    images = _images_alone(inputs)
    rows = splits["train"] + (splits["validation"] if images else 0)
    rounds, seen = IMAGE_ROUNDS if images else TABLE_ROUNDS, _round(inputs, rows)
    most = f"{rounds} epochs"
    if seen < rows:
        most = f"{rounds} rounds of {seen:,} of the {rows:,} rows ({rounds * seen / rows:.0f} passes over them in all)"
    return most if images else f"at most {most}, fewer where {TABLE_PATIENCE} bring nothing on the validation rows"


def _round(inputs: InputSpec, rows: int) -> int:
    """Rows after which the network is looked at."""
    return min(rows, BATCH * (IMAGE_STEPS if _images_alone(inputs) else TABLE_STEPS))


def _images_alone(inputs: InputSpec) -> bool:
    return inputs.image is not None and len(kinds(inputs)) == 1


def image_network(inputs: InputSpec, output: OutputSpec) -> Any:
    """Conv32-3, pool, Conv64-3, pool, dense 128; 421,642 parameters for 28 × 28 × 1 and ten classes.

    An image narrower than 4 is not pooled; one that is still wider than 16 after both pools gets further Conv64-3 and
    pool, so that the dense layer stays of a sane size.
    """
    from keras import Input, Model, layers

    assert inputs.image is not None
    image = Input(inputs.image, dtype="uint8", name="image")
    x = layers.Rescaling(1 / 255)(image)
    blocks = 0
    while blocks < 2 or max(x.shape[1:3]) > _MOST_FLATTENED_SIDE:
        x = layers.Conv2D(64 if blocks else 32, 3, padding="same", activation="relu")(x)
        sides = [2 if side >= 2 else 1 for side in x.shape[1:3]]
        x = layers.MaxPooling2D(sides)(x) if max(sides) > 1 else x
        blocks += 1
    x = layers.Dense(128, activation="relu")(layers.Flatten()(x))
    return Model({"image": image}, layers.Dense(output.classes or 1)(x))


def table_network(inputs: InputSpec, output: OutputSpec) -> Any:
    """Dense 64, dense 64 over z-scored numbers and categories: one-hot up to 64 ids, above that 16 learned numbers."""
    from keras import Input, Model, layers

    tensors, parts = {}, []
    for name in ("numeric", "plain"):
        if shape := inputs.shape(name):
            tensors[name] = Input(shape, name=name)
            parts.append(tensors[name])
    if inputs.cardinalities:
        ids = tensors["categorical"] = Input((len(inputs.cardinalities),), dtype="int32", name="categorical")
        for column, cardinality in enumerate(inputs.cardinalities):
            if cardinality <= _ONE_HOT_CARDINALITY:
                parts.append(layers.CategoryEncoding(cardinality, output_mode="one_hot")(ids[:, column : column + 1]))
            else:
                parts.append(layers.Embedding(cardinality, 16)(ids[:, column]))
    x = layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    for _ in range(2):
        x = layers.Dense(64, activation="relu")(x)
    return Model(tensors, layers.Dense(output.classes or 1)(x))


def tree(
    train: Tensors, validation: Tensors, test: Tensors, *, inputs: InputSpec, output: OutputSpec, seed: int
) -> Array:
    """scikit-learn's HistGradientBoosting with its defaults on train + validation; predictions as `hand_made`.

    Columns with at most 255 ids are categories, those with more are ordered by frequency, as numbers.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    rows = train.join(validation)
    categories = [False] * (inputs.numeric + inputs.plain) + [
        count <= _MOST_TREE_CATEGORIES for count in inputs.cardinalities
    ]
    options = {"categorical_features": np.asarray(categories), "random_state": seed % 2**32}
    if output.classes is None:
        regressor = HistGradientBoostingRegressor(**options).fit(_matrix(rows), rows.labels, rows.weights)
        return np.asarray(regressor.predict(_matrix(test)), np.float64)
    rarest = np.unique(rows.labels, return_counts=True)[1].min()
    if rarest < 2:  # early stopping, the default above 10,000 rows, must split each class
        options["early_stopping"] = False
    classifier = HistGradientBoostingClassifier(**options).fit(_matrix(rows), rows.labels, rows.weights)
    probabilities = np.zeros((test.rows, output.classes))
    probabilities[:, classifier.classes_] = classifier.predict_proba(_matrix(test))
    return probabilities


def _matrix(rows: Tensors) -> Array:
    """float32 [rows, columns]: the numbers, then the ids."""
    return np.concatenate(
        [rows.inputs[name].astype(np.float32) for name in ("numeric", "plain", "categorical") if name in rows.inputs],
        axis=1,
    )


def _targets(rows: Tensors, output: OutputSpec) -> Array:
    labels: Array = rows.labels
    return labels if output.classes is not None else (labels - output.mean) / output.std


def _weights(rows: Tensors) -> Array | None:
    """How much each row counts, 1 on average."""
    return None if rows.weights is None else rows.weights / rows.weights.mean()


def _softmax(logits: Array) -> Array:
    powers: Array = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))
