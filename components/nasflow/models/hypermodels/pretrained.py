"""Pretrained backbones as candidates: networks of `keras.applications` with weights of the user's.

    search:
      space: pretrained
      space_settings:
        backbones:
          MobileNetV2: gs://bucket/mobilenet_v2_notop.weights.h5
          EfficientNetB0: /models/efficientnetb0_notop.h5

A weights file is what `model.save_weights` writes, or Keras publishes, of the network without its top. Nothing is ever
downloaded but what is named here. Written as a HyperModel, since that is what it is: see `nasflow.models.hypermodels`.
"""

import functools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import keras_tuner

from nasflow.core.storage import storage_for

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CAFFE_MEAN = (103.939, 116.779, 123.68)
_MINUS_ONE_TO_ONE = ("MobileNet", "MobileNetV2", "InceptionV3", "InceptionResNetV2", "Xception")
_CAFFE = ("VGG", "ResNet50", "ResNet101", "ResNet152")


class Pretrained(keras_tuner.HyperModel):
    """Images, resized, through a backbone whose weights stay (`frozen`) or are trained on (`fine_tuned`), to a head."""

    def __init__(
        self,
        backbones: Mapping[str, str | Mapping[str, Any]],
        *,
        image: Sequence[int],
        classes: int,
        sides: Sequence[int] = (96, 160, 224),
    ) -> None:
        """Settings; `image` and `classes` are the data's.

        Args:
            backbones: by the network's name in `keras.applications`, the path or ``gs://`` URI of its weights; or a
                mapping with ``weights`` and the network's own arguments, such as ``alpha``.
            image: height, width and channels.
            classes: of the label.
            sides: pixels that images are resized to; the first is the default.

        Raises:
            ValueError: no such network, or no weights.
        """
        if not backbones:
            raise ValueError("backbones: name at least one and its weights")
        for name, entry in backbones.items():
            if not callable(getattr(keras.applications, name, None)):
                raise ValueError(f"backbones: keras.applications has no {name!r}")
            if not (entry if isinstance(entry, str) else entry.get("weights")):
                raise ValueError(
                    f"backbones.{name}: weights must be a path or gs:// URI; nothing is downloaded unasked"
                )
        self._backbones = {name: {"weights": e} if isinstance(e, str) else dict(e) for name, e in backbones.items()}
        self._image, self._classes, self._sides = tuple(image), classes, list(sides)
        super().__init__(name="pretrained")

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """A compiled model from images in 0–1 to logits."""
        name = hp.Choice("backbone", list(self._backbones))
        side = hp.Choice("side", self._sides)
        tuning = hp.Choice("tuning", ["frozen", "fine_tuned"])
        image = keras.Input(self._image)
        x = keras.layers.Resizing(side, side)(image)
        if self._image[-1] == 1:
            x = keras.layers.Concatenate()([x, x, x])
        backbone = self._backbone(name, side)
        backbone.trainable = tuning == "fine_tuned"
        x = backbone(_prepared(name, x), training=False)  # its norms keep what they learned from more data than this
        x = keras.layers.GlobalAveragePooling2D()(x)
        if units := hp.Choice("head_units", [0, 128]):
            x = keras.layers.Dense(units, activation="relu")(x)
        x = keras.layers.Dropout(hp.Choice("dropout", [0.2, 0.0, 0.5]))(x)
        model = keras.Model(image, keras.layers.Dense(self._classes)(x))
        with hp.conditional_scope("tuning", ["frozen"]):
            frozen = hp.Float("learning_rate", 3e-4, 1e-2, sampling="log", default=2e-3)
        with hp.conditional_scope("tuning", ["fine_tuned"]):
            tuned = hp.Float("fine_tuning_rate", 1e-5, 1e-3, sampling="log", default=1e-4)
        rate = frozen if tuning == "frozen" else tuned
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.AdamW(rate, weight_decay=1e-4), loss)
        return model

    def _backbone(self, name: str, side: int) -> keras.Model:
        options = {key: value for key, value in self._backbones[name].items() if key != "weights"}
        make = getattr(keras.applications, name)
        backbone = make(weights=None, include_top=False, input_shape=(side, side, 3), **options)
        backbone.load_weights(_local(self._backbones[name]["weights"]))
        return backbone


def _prepared(name: str, x: Any) -> Any:
    """From 0–1 to what the network was trained on; the newer ones take 0–255 and do it themselves."""
    if (name.endswith("V2") and name.startswith("ResNet")) or name in _MINUS_ONE_TO_ONE or name.startswith("NASNet"):
        return keras.layers.Rescaling(2.0, offset=-1.0)(x)
    if name.startswith("DenseNet"):
        return keras.layers.Normalization(mean=_IMAGENET_MEAN, variance=[std**2 for std in _IMAGENET_STD])(x)
    if name.startswith(_CAFFE):
        return keras.layers.Rescaling(255.0, offset=[-mean for mean in _CAFFE_MEAN])(x[..., ::-1])
    return keras.layers.Rescaling(255.0)(x)


@functools.lru_cache(maxsize=16)
def _local(uri: str) -> str:
    """A local copy, once a process.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if "://" not in uri:
        return uri
    folder = Path(tempfile.mkdtemp(prefix="nasflow-weights-"))
    path = folder / uri.rpartition("/")[2]
    path.write_bytes(storage_for(uri).read(uri))
    return str(path)
