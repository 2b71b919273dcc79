"""Convolutional networks: a stem, stages of blocks with reductions between, a head; and the recipe that trains them.

Works from 1×1 to 224×224 pixels: how many stages there are, and how strongly the stem reduces, follow from the image.
The default is `base` of research/auto.md (Fashion-MNIST, 10k images: .903 test accuracy in 43 CPU-seconds).
"""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import Architecture
from nasflow.spaces.cnn_layers import CnnLayers
from nasflow.spaces.image_recipe import ImageRecipe, Searched
from nasflow.spaces.parameters import Choice, Parameter, When, active
from nasflow.spaces.resolution import most_stages, stem_strides

_STRIDES = {"full": 1, "half": 2, "quarter": 4}
_LEAST_PADDED = 16
"""Images of fewer pixels are too small to lose their border."""

Choices = Literal["some", "all"]
"""`some`: what research/auto.md measured, for short budgets. `all`: every operation of `nasflow.spaces.cnn_layers`."""


class CnnSpace(Space):
    """For images."""

    name = "cnn"

    def __init__(
        self, *, inputs: InputSpec, output: OutputSpec, choices: Choices = "all", recipe: Searched = "some"
    ) -> None:
        """Settings: `choices`, see above; `recipe`, see `nasflow.spaces.image_recipe`.

        Raises:
            ValueError: no images, or settings that are unknown.
        """
        if inputs.image is None:
            raise ValueError("CnnSpace needs InputSpec.image")
        if choices not in get_args(Choices):
            raise ValueError(f"choices: must be one of {', '.join(get_args(Choices))}, got {choices!r}")
        del output  # the head follows from it in build() and cost()
        self._image = inputs.image[:2]
        self._side = min(self._image)
        strides = {stride: name for name, stride in _STRIDES.items()}
        self._stems = tuple(strides[stride] for stride in stem_strides(self._side))
        self._max_stages = most_stages(self._side)
        self._all = choices == "all"
        self._recipe = ImageRecipe(self._side, recipe)
        self._parameters = tuple(self._declare())

    def parameters(self) -> tuple[Parameter, ...]:
        return self._parameters

    def _declare(self) -> list[Parameter]:
        least = min(2, self._max_stages)
        more = self._all
        found: list[Parameter] = [
            Choice(name="stem", values=self._stems),
            Choice(name="width", values=(8, 12, 16, 24, 32, 48, 64)),
            Choice(name="stages", values=tuple(range(least, self._max_stages + 1))),
            Choice(name="block", values=("residual", "plain", "branches")),
            Choice(name="norm", values=("batch", "none", "layer", "group") if more else ("batch", "none")),
            Choice(
                name="activation",
                values=("relu", "gelu", "swish", *(["elu", "leaky_relu", "tanh", "sigmoid"] if more else [])),
            ),
        ]
        if self._max_stages > 1:
            found += [
                Choice(name="growth", values=(1.0, 1.5, 2.0)),
                Choice(name="pool", values=("max", "avg", "stride") if more else ("max", "avg")),
            ]
        if more:
            branches = When(parent="block", values=("branches",))
            found += [
                Choice(name="branch", values=("identity", "conv", "max_pool", "avg_pool", "dilated"), when=branches),
                Choice(name="merge", values=("concat", "add"), when=branches),
                Choice(name="squeeze_excite", values=("off", "on")),
            ]
            if self._side >= _LEAST_PADDED:
                found.append(Choice(name="padding", values=("same", "valid")))
        for stage in range(1, self._max_stages + 1):
            found += self._declare_stage(stage, least)
        found += [
            Choice(name="head", values=("gap", "flatten", "gmp", "both") if more else ("gap", "flatten")),
            Choice(name="head_units", values=(32, 64, 128, 256), when=When(parent="head", values=("flatten",))),
            Choice(name="dropout", values=(0.0, 0.1, 0.2, 0.3, 0.5)),
        ]
        return found + self._recipe.parameters()

    def _declare_stage(self, stage: int, least: int) -> list[Parameter]:
        when = When(parent="stages", values=tuple(range(stage, self._max_stages + 1))) if stage > least else None
        # One stage always has a block, or the kind of block would change nothing.
        blocks = (1, 2, 3) if stage == least else (0, 1, 2) if stage == 1 else (0, 1, 2, 3)
        found: list[Parameter] = [Choice(name=f"blocks_{stage}", values=blocks, when=when)]
        if stage == 1 and least > 1:  # without a block the first stage is the stem alone
            when = When(parent="blocks_1", values=(1, 2))
        more = ("depthwise", "dilated", "max_pool", "avg_pool") if self._all else ()
        return [
            *found,
            Choice(name=f"op_{stage}", values=("conv", "separable", *more), when=when),
            Choice(name=f"kernel_{stage}", values=(1, 3, 5, 7) if self._all else (3, 5), when=when),
        ]

    def presets(self) -> tuple[dict[str, Any], ...]:
        """`base`, then one twice as wide with augmentation for longer runs, then one half as wide."""
        shifts = self._recipe.shifts
        wider = {"width": 32, "dropout": 0.1, "learning_rate": 3e-3, "shift": shifts[min(1, len(shifts) - 1)]}
        return (self._preset({}), self._preset(wider), self._preset({"width": 8, "dropout": 0.0}))

    def _preset(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """`base` with changes."""
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
            "squeeze_excite": "off",
            "padding": "same",
            "head": "gap",
            "dropout": 0.0,
            **self._recipe.preset(),
        }
        for stage in range(1, stages + 1):
            values[f"blocks_{stage}"] = int(stage > 1 or self._max_stages == 1)
            values |= {f"op_{stage}": "conv", f"kernel_{stage}": 3}
        values |= changes
        return {parameter.name: values[parameter.name] for parameter in active(self._parameters, values)}

    def architecture(self, values: Mapping[str, Any]) -> Architecture:
        self.check(values)
        graph = CnnLayers(values, self._image)
        x = graph.stem(_STRIDES[values["stem"]])
        width = float(values["width"])
        for stage in range(1, values["stages"] + 1):
            if stage > 1:
                width *= values["growth"]
                x = graph.reduction(x, stage, round(width))
            for _ in range(values[f"blocks_{stage}"]):
                x = graph.block(x, stage, round(width))
        return graph.finish(graph.head(x), self._recipe.of(values))
