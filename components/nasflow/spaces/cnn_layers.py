"""The parts of the networks of `nasflow.spaces.cnn`.

A *unit* is an operation of the stage's kind, norm, activation:

    conv        convolution
    separable   depthwise, then 1×1 convolution (Chollet 2017)
    depthwise   the same with norm and activation between (Howard et al. 2017)
    dilated     convolution with gaps of one (Yu & Koltun 2016)
    max_pool    pooling at stride 1, then 1×1 convolution; so is avg_pool

With group norm, what follows a depthwise convolution is layer norm.
"""

import math
from collections.abc import Mapping
from typing import Any

from nasflow.spaces.graph import Graph
from nasflow.spaces.operations._base import windows

_GROUPS = 8
_SQUEEZE = 4


class CnnLayers(Graph):
    """Writes a network's parts; keeps count of the pixels, as windows without padding must fit."""

    def __init__(self, values: Mapping[str, Any], image: tuple[int, int]) -> None:
        super().__init__()
        self._values = values
        self._image = image

    def stem(self, stride: int) -> str:
        """A 3×3 convolution; 5×5 with stride 2 where it reduces, then pooling by 2 where it reduces by 4."""
        x = self.add("input", tensor="image")
        reduce = min(stride, 2)
        x = self._conv(x, self._values["width"], 3 if reduce == 1 else 5, stride=reduce, cut=True)
        if stride == 4:
            self._shrink(2, 2)
            x = self.add("max_pool", x, size=2)
        return x

    def reduction(self, x: str, stage: int, width: int) -> str:
        """Half the pixels, by pooling or by the unit's own stride; then a unit of the new width."""
        if self._values["pool"] == "stride":
            return self.unit(x, stage, width, stride=2, cut=True)
        self._shrink(2, 2)
        return self.unit(self.add(f"{self._values['pool']}_pool", x, size=2), stage, width, cut=True)

    def unit(self, x: str, stage: int, width: int, *, stride: int = 1, activate: bool = True, cut: bool = False) -> str:
        """`cut`: it may lose the border, where the network is to have no padding."""
        op, kernel = self._values[f"op_{stage}"], self._values[f"kernel_{stage}"]
        if op in ("max_pool", "avg_pool"):
            x = self.add(op, x, size=kernel, stride=stride, **self._window(kernel, stride, cut=cut))
            return self._conv(x, width, 1, activate=activate)
        if op == "depthwise":
            settings = self._window(kernel, stride, cut=cut)
            x = self.add("depthwise_conv", x, kernel=kernel, stride=stride, bias=self._biased, **settings)
            return self._conv(self._activation(self._normed(x)), width, 1, activate=activate)
        if op == "dilated":
            x = self._conv(x, width, kernel, dilation=2, activate=activate, cut=cut)
            if stride > 1:  # Keras has no convolution with both
                self._shrink(stride, stride)
                x = self.add("avg_pool", x, size=stride)
            return x
        return self._conv(x, width, kernel, separable=op == "separable", stride=stride, activate=activate, cut=cut)

    def block(self, x: str, stage: int, width: int) -> str:
        """`residual` (He et al. 2016), `plain`, or `branches`: two ways side by side, joined and brought back to the
        width (after Szegedy et al. 2015), with a residual connection. Squeeze-and-excitation stands at the end."""
        kind = self._values["block"]
        if kind == "plain":
            return self._excited(self.unit(x, stage, width, cut=True))
        if kind == "residual":
            y = self.unit(self.unit(x, stage, width), stage, width, activate=False)
        else:
            half = max(1, width // 2)
            narrow = self._conv(x, half, 1)
            other, wide = self._branch(narrow, half), self.unit(narrow, stage, half)
            y = self._conv(self.add(self._values.get("merge", "concat"), other, wide), width, 1, activate=False)
        return self._activation(self.add("add", x, self._excited(y)))

    def head(self, x: str) -> str:
        """Global pooling, or flatten and a dense layer; then dropout."""
        kind = self._values["head"]
        if kind == "flatten":
            x = self.add("dense", self.add("flatten", x), units=self._values["head_units"], bias=True)
            x = self._activation(x)
        elif kind == "both":
            x = self.add("concat", self.add("global_avg_pool", x), self.add("global_max_pool", x))
        else:
            x = self.add("global_max_pool" if kind == "gmp" else "global_avg_pool", x)
        return self.add("dropout", x, rate=self._values["dropout"]) if self._values["dropout"] else x

    def _branch(self, x: str, width: int) -> str:
        """What stands beside the unit: by default nothing but the narrow convolution that feeds both."""
        match self._values.get("branch", "identity"):
            case "conv":
                return self._conv(x, width, 1)
            case "max_pool" | "avg_pool" as op:
                return self.add(op, x, size=3, stride=1)
            case "dilated":
                return self._conv(x, width, 3, dilation=2)
        return x

    def _conv(
        self,
        x: str,
        width: int,
        kernel: int,
        *,
        separable: bool = False,
        stride: int = 1,
        dilation: int = 1,
        activate: bool = True,
        cut: bool = False,
    ) -> str:
        settings = self._window(kernel, stride, dilation, cut=cut)
        op = "separable_conv" if separable else "conv"
        x = self.add(op, x, filters=width, kernel=kernel, stride=stride, bias=self._biased, **settings)
        x = self._normed(x, width)
        return self._activation(x) if activate else x

    @property
    def _biased(self) -> bool:
        """Batch norm takes the mean away; other norms have groups of channels, whose means differ."""
        return bool(self._values["norm"] != "batch")

    def _normed(self, x: str, width: int | None = None) -> str:
        norm = self._values["norm"]
        if norm == "none":
            return x
        if norm == "group" and width is not None:
            return self.add("group_norm", x, groups=math.gcd(width, _GROUPS))
        return self.add("layer_norm" if norm in ("layer", "group") else "batch_norm", x)

    def _activation(self, x: str) -> str:
        return self.add("activation", x, function=self._values["activation"])

    def _excited(self, x: str) -> str:
        return self.add("squeeze_excite", x, ratio=_SQUEEZE) if self._values.get("squeeze_excite") == "on" else x

    def _window(self, kernel: int, stride: int, dilation: int = 1, *, cut: bool = False) -> dict[str, Any]:
        """Settings beyond the usual; notes what is left of the image."""
        reach = dilation * (kernel - 1) + 1
        wanted = cut and kernel > 1 and self._values.get("padding") == "valid"
        padding = "valid" if wanted and min(self._image) > 2 * reach else "same"
        self._shrink(kernel, stride, dilation, padding)
        return ({"dilation": dilation} if dilation > 1 else {}) | ({"padding": padding} if padding == "valid" else {})

    def _shrink(self, size: int, stride: int, dilation: int = 1, padding: str = "same") -> None:
        one, other = (
            windows(extent, size=size, stride=stride, padding=padding, dilation=dilation) for extent in self._image
        )
        self._image = (one, other)
