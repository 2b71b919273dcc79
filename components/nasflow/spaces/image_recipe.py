"""How networks for images are trained: the recipe of research/auto.md, and what of it a search may change."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from nasflow.spaces.architecture import Recipe
from nasflow.spaces.parameters import Choice, Parameter, Real, When

Searched = Literal["none", "some", "all"]
"""`none`: the preset's recipe for every architecture. `some`: learning rate, weight decay, batch size, schedule, label
smoothing and the plain augmentations. `all`: also optimiser, averaged weights, class weights, mixing and colours."""


class ImageRecipe:
    """Parameters of a recipe, for images of one size."""

    def __init__(self, side: int, searched: Searched = "some") -> None:
        """`side`: the shorter one, in pixels.

        Raises:
            ValueError: no such extent of the search.
        """
        if searched not in get_args(Searched):
            raise ValueError(f"recipe: must be one of {', '.join(get_args(Searched))}, got {searched!r}")
        self._searched = searched
        self.cutouts = (0, *sorted({pixels for pixels in (side // 4, side // 2) if pixels >= 2}))
        self.shifts = (0, *sorted({pixels for pixels in (side // 16, side // 8) if pixels >= 1}))

    def parameters(self) -> list[Parameter]:
        """None, some or all of the recipe."""
        if self._searched == "none":
            return []
        some: list[Parameter] = [
            Real(name="learning_rate", low=5e-4, high=1e-2, log=True),
            Real(name="weight_decay", low=1e-3, high=0.3, log=True),
            Choice(name="batch_size", values=(32, 64, 128)),
            Choice(name="schedule", values=("one_cycle", "cosine")),
            Choice(name="label_smoothing", values=(0.0, 0.05, 0.1)),
            Choice(name="flip", values=("off", "on")),
            Choice(name="shift", values=self.shifts),
            Choice(name="cutout", values=self.cutouts),
        ]
        if self._searched == "some":
            return some
        decays = When(parent="optimizer", values=("adamw", "sgd", "lion"))
        some[1] = Real(name="weight_decay", low=1e-3, high=0.3, log=True, when=decays)
        return [
            Choice(name="optimizer", values=("adamw", "sgd", "adam", "rmsprop", "lion")),
            *some,
            Choice(name="ema", values=("off", "0.99", "0.998")),
            Choice(name="class_weights", values=("off", "on")),
            Choice(name="mixup", values=(0.0, 0.1, 0.2, 0.4)),
            Choice(name="brightness", values=(0.0, 0.1, 0.2)),
            Choice(name="contrast", values=(0.0, 0.1, 0.2)),
        ]

    def preset(self) -> dict[str, Any]:
        """Of `base` (research/auto.md). No flips: mirrored digits and letters are other digits and letters."""
        return {
            "learning_rate": 4e-3,
            "weight_decay": 0.05,
            "batch_size": 64,
            "schedule": "one_cycle",
            "label_smoothing": 0.0,
            "flip": "off",
            "shift": 0,
            "cutout": 0,
            "optimizer": "adamw",
            "ema": "off",
            "class_weights": "off",
            "mixup": 0.0,
            "brightness": 0.0,
            "contrast": 0.0,
        }

    def of(self, values: Mapping[str, Any]) -> Recipe:
        """The recipe that the values mean; what they do not say is the preset's."""
        chosen = {**self.preset(), **values}
        optimizer = chosen["optimizer"]
        return Recipe(
            optimizer=optimizer,
            # Steps of Lion have the size of their rate whatever the gradient: Chen et al. 2023, §5, take a tenth. SGD
            # needs a rate ten times as large here, its gradients being far below 1.
            learning_rate=chosen["learning_rate"] * {"lion": 0.1, "sgd": 10.0}.get(optimizer, 1.0),
            weight_decay=_decay(optimizer, chosen),
            schedule=chosen["schedule"],
            batch_size=chosen["batch_size"],
            label_smoothing=chosen["label_smoothing"],
            ema=None if chosen["ema"] == "off" else float(chosen["ema"]),
            class_weights=chosen["class_weights"] == "on",
            flip=chosen["flip"] == "on",
            shift=chosen["shift"],
            cutout=chosen["cutout"],
            mixup=chosen["mixup"],
            brightness=chosen["brightness"],
            contrast=chosen["contrast"],
        )


def _decay(optimizer: str, chosen: Mapping[str, Any]) -> float:
    """Decoupled decay is a share of the learning rate: where that is tenfold, a tenth is the same."""
    decay = float(chosen["weight_decay"])
    return {"adamw": decay, "sgd": decay / 10, "lion": decay * 10}.get(optimizer, 0.0)
