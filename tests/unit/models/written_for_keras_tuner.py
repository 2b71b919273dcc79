"""HyperModels as people write them for Keras Tuner: nothing here knows nasflow."""

import keras
import keras_tuner
import tensorflow as tf
from keras import layers


def build_model(hp):
    """A function with a loop over an integer and no `conditional_scope`; an unbuilt Sequential; one-hot labels."""
    model = keras.Sequential()
    model.add(layers.Flatten())
    for i in range(hp.Int("num_layers", 1, 3)):
        model.add(
            layers.Dense(
                units=hp.Int(f"units_{i}", 32, 96, step=32), activation=hp.Choice("activation", ["relu", "tanh"])
            )
        )
    if hp.Boolean("dropout"):
        model.add(layers.Dropout(rate=0.25))
    model.add(layers.Dense(10, activation="softmax"))
    rate = hp.Float("lr", min_value=1e-3, max_value=1e-2, sampling="log")
    model.compile(keras.optimizers.Adam(learning_rate=rate), loss="categorical_crossentropy", metrics=["accuracy"])
    return model


class ConvModel(keras_tuner.HyperModel):
    """A class with an argument, a declared condition, logits, and parameters of its own in `fit`."""

    def __init__(self, classes=10):
        self.classes = classes
        super().__init__()

    def build(self, hp):
        inputs = keras.Input((8, 8))
        x = layers.Reshape((8, 8, 1))(inputs)
        kind = hp.Choice("model_type", ["conv", "dense"])
        with hp.conditional_scope("model_type", ["conv"]):
            if kind == "conv":
                x = layers.Conv2D(hp.Int("filters", 4, 12, step=4), 3, activation="relu")(x)
        with hp.conditional_scope("model_type", ["dense"]):
            if kind == "dense":
                x = layers.Dense(hp.Choice("width", [8, 16]), activation="relu")(layers.Flatten()(x))
        outputs = layers.Dense(self.classes)(layers.Flatten()(x))
        model = keras.Model(inputs, outputs)
        model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    def fit(self, hp, model, *args, **kwargs):
        return model.fit(
            *args, batch_size=hp.Choice("batch_size", [16, 32]), shuffle=hp.Boolean("shuffle", default=True), **kwargs
        )


class OwnLoop(keras_tuner.HyperModel):
    """One sigmoid unit, no compile, a training loop of its own that sets its epochs and calls the callbacks."""

    def build(self, hp):
        return keras.Sequential(
            [layers.Dense(hp.Int("units", 4, 8), activation="relu"), layers.Dense(1, activation="sigmoid")]
        )

    def fit(self, hp, model, x, y, validation_data, callbacks=None, **kwargs):
        rows = tf.data.Dataset.from_tensor_slices((x, y)).batch(hp.Int("batch", 16, 64, step=16, default=32))
        optimizer = keras.optimizers.Adam(hp.Float("rate", 1e-3, 1e-1, sampling="log", default=1e-2))
        for callback in callbacks:
            callback.set_model(model)
        for epoch in range(4):
            for batch, labels in rows:
                with tf.GradientTape() as tape:
                    loss = tf.reduce_mean(keras.losses.binary_crossentropy(labels, model(batch)))
                optimizer.apply_gradients(
                    zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
                )
            for callback in callbacks:
                callback.on_epoch_end(epoch, logs={"my_loss": float(loss)})
        return float(loss)


def build_regressor(hp):
    """Two inputs named after the data's tensors."""
    numeric, categorical = keras.Input((2,), name="numeric"), keras.Input((1,), name="categorical", dtype="int32")
    x = layers.Concatenate()([numeric, layers.Flatten()(layers.Embedding(5, 3)(categorical))])
    outputs = layers.Dense(1)(layers.Dense(hp.Int("units", 8, 64, sampling="log"), activation="relu")(x))
    model = keras.Model([numeric, categorical], outputs)
    model.compile("adam", "mse")
    return model


def broken(hp):
    raise RuntimeError(f"no model for {hp.Int('n', 1, 2)}")


def seven_units(hp):
    model = keras.Sequential([layers.Flatten(), layers.Dense(7 + 0 * hp.Int("n", 1, 2), activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model
