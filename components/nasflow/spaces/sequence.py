"""Networks for series: list columns of numbers, all of one length, are channels over time.

Bodies: `conv` (residual blocks of convolutions, pooling between: Wang et al. 2017, "ResNet" for series), `dilated`
(causal convolutions whose reach doubles each block: Bai et al. 2018, "TCN"), `gru` (Cho et al. 2014) and `conv_gru`.
Other columns of the table join before the head, as they are and embedded.
"""

from collections.abc import Mapping
from typing import Any

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import Architecture
from nasflow.spaces.graph import Graph
from nasflow.spaces.parameters import Choice, Integer, Parameter, When, active
from nasflow.spaces.recipe_genes import parameters as recipe_parameters
from nasflow.spaces.recipe_genes import recipe

_MOST_BLOCKS = 4
_SIDE_COLUMNS_DIM = 8


class SequenceSpace(Space):
    """For tables with list columns of numbers."""

    name = "sequence"

    def __init__(self, *, inputs: InputSpec, output: OutputSpec) -> None:
        """Raises:
        ValueError: no list column of numbers, or lists of different lengths.
        """
        if not inputs.vectors:
            raise ValueError("sequence needs list columns of numbers, or an .npz array [rows, time, features]")
        if len(set(inputs.vectors)) > 1:
            raise ValueError(f"sequence needs lists of one length, got {', '.join(map(str, inputs.vectors))}")
        self._inputs = inputs
        self._length, self._channels = inputs.vectors[0], len(inputs.vectors)
        self._classification = output.classes is not None
        self._parameters = tuple(self._declare())

    def parameters(self) -> tuple[Parameter, ...]:
        return self._parameters

    def _declare(self) -> list[Parameter]:
        convs = When(parent="body", values=("conv", "dilated", "conv_gru"))
        pooled = When(parent="body", values=("conv", "conv_gru"))
        grus = When(parent="body", values=("gru", "conv_gru"))
        return [
            Choice(name="body", values=("conv", "dilated", "gru", "conv_gru")),
            Choice(name="blocks", values=self._block_counts(), when=convs),
            Integer(name="filters", low=8, high=128, log=True, when=convs),
            Choice(name="kernel", values=(3, 5, 7, 9), when=convs),
            Choice(name="op", values=("conv", "separable"), when=pooled),
            Choice(name="units", values=(16, 32, 64, 128), when=grus),
            Choice(name="directions", values=("both", "forwards"), when=grus),
            Choice(name="layers", values=(1, 2), when=grus),
            Choice(name="activation", values=("relu", "gelu", "swish", "elu"), when=convs),
            Choice(name="norm", values=("batch", "layer", "none"), when=convs),
            Choice(name="pool", values=("mean", "max", "both", "last")),
            Choice(name="head_units", values=(0, 32, 128)),
            Choice(name="dropout", values=(0.0, 0.1, 0.3, 0.5)),
            *recipe_parameters(classification=self._classification),
        ]

    def _block_counts(self) -> tuple[int, ...]:
        """At most so many that pooling leaves two places."""
        most = 1
        while most < _MOST_BLOCKS and self._length >> (most + 1) >= 1:
            most += 1
        return tuple(range(1, most + 1))

    def presets(self) -> tuple[dict[str, Any], ...]:
        """A residual convolutional network, causal convolutions, a recurrent one behind convolutions."""
        base: dict[str, Any] = {
            "body": "conv",
            "blocks": min(3, self._block_counts()[-1]),
            "filters": 32,
            "kernel": 5,
            "op": "conv",
            "units": 32,
            "directions": "both",
            "layers": 1,
            "activation": "relu",
            "norm": "batch",
            "pool": "both",
            "head_units": 0,
            "dropout": 0.1,
            "learning_rate": 4e-3,
            "weight_decay": 0.05,
            "batch_size": 64,
            "schedule": "one_cycle",
            "ema": "off",
            "label_smoothing": 0.0,
        }
        found = [
            base,
            base | {"body": "dilated", "kernel": 3},
            base | {"body": "conv_gru", "blocks": 1, "pool": "mean"},
        ]
        return tuple(
            {parameter.name: values[parameter.name] for parameter in active(self._parameters, values)}
            for values in found
        )

    def architecture(self, values: Mapping[str, Any]) -> Architecture:
        self.check(values)
        graph = _Series(values)
        plain = graph.add("input", tensor="plain")
        start = self._inputs.plain - self._length * self._channels
        x = graph.add("series", plain, tensor="plain", start=start, length=self._length, channels=self._channels)
        body = values["body"]
        if body != "gru":
            x = graph.convolutions(x)
        if body in ("gru", "conv_gru"):
            x = graph.recurrent(x)
        parts = [graph.pooled(x), *self._beside(graph)]
        return graph.finish(graph.head(graph.add("concat", *parts) if len(parts) > 1 else parts[0]), recipe(values))

    def _beside(self, graph: Graph) -> list[str]:
        """The table's other columns."""
        found = []
        if self._inputs.numeric:
            found.append(graph.add("input", tensor="numeric"))
        if self._inputs.cardinalities:
            ids = graph.add("input", tensor="categorical")
            found.append(graph.add("embedding", ids, tensor="categorical", dim=_SIDE_COLUMNS_DIM))
        return found


class _Series(Graph):
    """The parts of the network."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__()
        self._values = values

    def convolutions(self, x: str) -> str:
        values = self._values
        x = self._unit(x, 0)
        for block in range(values["blocks"]):
            y = self._unit(self._unit(x, block), block, activate=False)
            x = self._activation(self.add("add", x, y))
            if values["body"] != "dilated" and block + 1 < values["blocks"]:
                x = self.add("max_pool1d", x, size=2)
        return x

    def recurrent(self, x: str) -> str:
        values = self._values
        for _ in range(values["layers"]):
            x = self.add("gru", x, units=values["units"], both=values["directions"] == "both", sequences=True)
        return x

    def pooled(self, x: str) -> str:
        match self._values["pool"]:
            case "both":
                return self.add("concat", self.add("series_mean", x), self.add("series_max", x))
            case kind:
                return self.add(f"series_{kind}", x)

    def head(self, x: str) -> str:
        values = self._values
        if values["head_units"]:
            x = self.add("dense", x, units=values["head_units"], bias=True)
            x = self.add("activation", x, function="relu")
        return self.add("dropout", x, rate=values["dropout"]) if values["dropout"] else x

    def _unit(self, x: str, block: int, *, activate: bool = True) -> str:
        values = self._values
        settings: dict[str, Any] = {"filters": values["filters"], "kernel": values["kernel"], "stride": 1}
        op = "conv1d"
        if values["body"] == "dilated":
            settings |= {"padding": "causal", "dilation": 1 << block}
        elif values["op"] == "separable":
            op = "separable_conv1d"
        x = self.add(op, x, **settings, bias=values["norm"] != "batch")
        if values["norm"] != "none":
            x = self.add(f"{values['norm']}_norm", x)
        return self._activation(x) if activate else x

    def _activation(self, x: str) -> str:
        return self.add("activation", x, function=self._values["activation"])
