"""Convolutional networks: a stem, stages of blocks with pooling between, a head; and the recipe that trains them.

Works from 1×1 to 224×224 pixels: how many stages there are, and how strongly the stem reduces, follow from the image.
The default is `base` of research/auto.md (Fashion-MNIST, 10k images: .903 test accuracy in 43 CPU-seconds).
"""

from collections.abc import Mapping
from typing import Any

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import Architecture, Recipe
from nasflow.spaces.graph import Graph
from nasflow.spaces.parameters import Choice, Parameter, Real, When, active

_MAX_STAGES = 4
_STRIDES = {"full": 1, "half": 2, "quarter": 4}


class CnnSpace(Space):
    """For images."""

    name = "cnn"

    def __init__(self, *, inputs: InputSpec, output: OutputSpec) -> None:
        if inputs.image is None:
            raise ValueError("CnnSpace needs InputSpec.image")
        del output  # the head follows from it in build() and cost()
        self._side = min(inputs.image[:2])
        self._stems = _stems(self._side)
        self._max_stages = _stages(self._side)
        self._cutouts = (0, *sorted({side for side in (self._side // 4, self._side // 2) if side >= 2}))
        self._shifts = (0, *sorted({pixels for pixels in (self._side // 16, self._side // 8) if pixels >= 1}))
        self._parameters = tuple(self._declare())

    def parameters(self) -> tuple[Parameter, ...]:
        return self._parameters

    def _declare(self) -> list[Parameter]:
        least = min(2, self._max_stages)
        found: list[Parameter] = [
            Choice(name="stem", values=self._stems),
            Choice(name="width", values=(8, 12, 16, 24, 32, 48, 64)),
            Choice(name="stages", values=tuple(range(least, self._max_stages + 1))),
            Choice(name="block", values=("residual", "plain", "branches")),
            Choice(name="norm", values=("batch", "none")),
            Choice(name="activation", values=("relu", "gelu", "swish")),
        ]
        if self._max_stages > 1:
            found += [
                Choice(name="growth", values=(1.0, 1.5, 2.0)),
                Choice(name="pool", values=("max", "avg")),
            ]
        for stage in range(1, self._max_stages + 1):
            when = When(parent="stages", values=tuple(range(stage, self._max_stages + 1))) if stage > least else None
            # One stage always has a block, or the kind of block would change nothing.
            blocks = (1, 2, 3) if stage == least else (0, 1, 2) if stage == 1 else (0, 1, 2, 3)
            found.append(Choice(name=f"blocks_{stage}", values=blocks, when=when))
            if stage == 1 and least > 1:  # without a block the first stage is the stem alone
                when = When(parent="blocks_1", values=(1, 2))
            found += [
                Choice(name=f"op_{stage}", values=("conv", "separable"), when=when),
                Choice(name=f"kernel_{stage}", values=(3, 5), when=when),
            ]
        found += [
            Choice(name="head", values=("gap", "flatten")),
            Choice(name="head_units", values=(32, 64, 128, 256), when=When(parent="head", values=("flatten",))),
            Choice(name="dropout", values=(0.0, 0.1, 0.2, 0.3, 0.5)),
            Real(name="learning_rate", low=5e-4, high=1e-2, log=True),
            Real(name="weight_decay", low=1e-3, high=0.3, log=True),
            Choice(name="batch_size", values=(32, 64, 128)),
            Choice(name="schedule", values=("one_cycle", "cosine")),
            Choice(name="label_smoothing", values=(0.0, 0.05, 0.1)),
            Choice(name="flip", values=("off", "on")),
            Choice(name="shift", values=self._shifts),
            Choice(name="cutout", values=self._cutouts),
        ]
        return found

    def presets(self) -> tuple[dict[str, Any], ...]:
        """`base`, then one twice as wide with augmentation for longer runs, then one half as wide."""
        wider = {
            "width": 32,
            "dropout": 0.1,
            "learning_rate": 3e-3,
            "shift": self._shifts[min(1, len(self._shifts) - 1)],
        }
        return (self._preset({}), self._preset(wider), self._preset({"width": 8, "dropout": 0.0}))

    def _preset(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """`base` with changes. No flips: mirrored digits and letters are other digits and letters."""
        stages = min(3 if self._side < 64 else 4, self._max_stages)
        values: dict[str, Any] = {
            "stem": self._stems[0],
            "width": 16,
            "stages": stages,
            "block": "residual",
            "norm": "batch",
            "activation": "relu",
            "growth": 2.0,
            "pool": "max",
            "head": "gap",
            "dropout": 0.0,
            "learning_rate": 4e-3,
            "weight_decay": 0.05,
            "batch_size": 64,
            "schedule": "one_cycle",
            "label_smoothing": 0.0,
            "flip": "off",
            "shift": 0,
            "cutout": 0,
        }
        for stage in range(1, stages + 1):
            values[f"blocks_{stage}"] = int(stage > 1 or self._max_stages == 1)
            values |= {f"op_{stage}": "conv", f"kernel_{stage}": 3}
        values |= changes
        return {parameter.name: values[parameter.name] for parameter in active(self._parameters, values)}

    def architecture(self, values: Mapping[str, Any]) -> Architecture:
        self.check(values)
        graph = _Cnn(values)
        x = graph.stem(_STRIDES[values["stem"]])
        width = float(values["width"])
        for stage in range(1, values["stages"] + 1):
            if stage > 1:
                x = graph.add(f"{values['pool']}_pool", x, size=2)
                width *= values["growth"]
                x = graph.unit(x, stage, round(width))
            for _ in range(values[f"blocks_{stage}"]):
                x = graph.block(x, stage, round(width))
        return graph.finish(graph.head(x), _recipe(values))


class _Cnn(Graph):
    """The parts of the network."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__()
        self._values = values

    def stem(self, stride: int) -> str:
        """A 3×3 convolution; 5×5 with stride 2 where it reduces, then pooling by 2 where it reduces by 4."""
        x = self.add("input", tensor="image")
        reduce = min(stride, 2)
        x = self._conv(x, "conv", self._values["width"], 3 if reduce == 1 else 5, stride=reduce)
        return self.add("max_pool", x, size=2) if stride == 4 else x

    def unit(self, x: str, stage: int, width: int, *, activate: bool = True) -> str:
        """Convolution, norm, activation, of the stage's kind."""
        op = "separable_conv" if self._values[f"op_{stage}"] == "separable" else "conv"
        return self._conv(x, op, width, self._values[f"kernel_{stage}"], activate=activate)

    def block(self, x: str, stage: int, width: int) -> str:
        """`residual` (He et al. 2016), `plain`, or `branches`: a 1×1 and a wider convolution side by side, joined, and
        brought back to the width (after Szegedy et al. 2015), with a residual connection."""
        kind = self._values["block"]
        if kind == "plain":
            return self.unit(x, stage, width)
        if kind == "residual":
            y = self.unit(self.unit(x, stage, width), stage, width, activate=False)
        else:
            half = max(1, width // 2)
            narrow = self._conv(x, "conv", half, 1)
            wide = self.unit(narrow, stage, half)
            y = self._conv(self.add("concat", narrow, wide), "conv", width, 1, activate=False)
        return self._activation(self.add("add", x, y))

    def head(self, x: str) -> str:
        """Global average pooling, or flatten and a dense layer; then dropout."""
        if self._values["head"] == "gap":
            x = self.add("global_avg_pool", x)
        else:
            x = self.add("dense", self.add("flatten", x), units=self._values["head_units"], bias=True)
            x = self._activation(x)
        return self.add("dropout", x, rate=self._values["dropout"]) if self._values["dropout"] else x

    def _conv(self, x: str, op: str, width: int, kernel: int, *, stride: int = 1, activate: bool = True) -> str:
        normed = self._values["norm"] == "batch"
        x = self.add(op, x, filters=width, kernel=kernel, stride=stride, bias=not normed)
        if normed:
            x = self.add("batch_norm", x)
        return self._activation(x) if activate else x

    def _activation(self, x: str) -> str:
        return self.add("activation", x, function=self._values["activation"])


def _recipe(values: Mapping[str, Any]) -> Recipe:
    return Recipe(
        optimizer="adamw",
        learning_rate=values["learning_rate"],
        weight_decay=values["weight_decay"],
        schedule=values["schedule"],
        batch_size=values["batch_size"],
        label_smoothing=values["label_smoothing"],
        flip=values["flip"] == "on",
        shift=values["shift"],
        cutout=values["cutout"],
    )


def _stems(side: int) -> tuple[str, ...]:
    """How far the stem may reduce, the default first: a net at full resolution on large images costs too much."""
    if side > 128:
        return ("quarter", "half")
    if side > 48:
        return ("half", "full", "quarter")
    return ("full", "half") if side >= 16 else ("full",)


def _stages(side: int) -> int:
    """At most so many that the last stage sees 2 pixels; at least one."""
    count = 1
    while count < _MAX_STAGES and side >= 4:
        side = -(-side // 2)
        count += 1
    return count
