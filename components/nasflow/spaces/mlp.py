"""Networks for tables: encodings of the columns, crosses of them (Wang et al. 2021, "DCN V2", stacked), then dense
layers; optionally several networks in one, each with weights of its own (packed) or almost all shared (TabM).

The defaults follow research/tabular.md: what the encoding and averaging do moves the result, the body hardly.
"""

from collections.abc import Mapping
from typing import Any, get_args

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import Architecture, Recipe
from nasflow.spaces.graph import Graph
from nasflow.spaces.image_recipe import Searched
from nasflow.spaces.parameters import Choice, Integer, Parameter, Real, When, active

_DEPTHS = (0, 1, 2, 3, 4)
_DEEP = (1, 2, 3, 4)
_CROSS_RANK = 16
_RECIPE: Mapping[str, Any] = {
    "optimizer": "adamw",
    "learning_rate": 2e-3,
    "weight_decay": 0.03,
    "batch_size": 64,
    "schedule": "cosine",
    "ema": "0.998",
    "label_smoothing": 0.0,
    "class_weights": "off",
}
_ENCODED = 100
"""Presets encode at most so many numeric columns."""


class MlpSpace(Space):
    """For tables."""

    name = "mlp"

    def __init__(self, *, inputs: InputSpec, output: OutputSpec, recipe: Searched = "some") -> None:
        """`recipe`: how much of it is searched, `none`, `some` or `all` (also optimiser and class weights).

        Raises:
            ValueError: no columns, or another `recipe`.
        """
        if recipe not in get_args(Searched):
            raise ValueError(f"recipe: must be one of {', '.join(get_args(Searched))}, got {recipe!r}")
        self._searched = recipe
        if not (inputs.numeric or inputs.plain or inputs.cardinalities):
            raise ValueError("MlpSpace needs numeric, plain or categorical columns")
        self._inputs = inputs
        self._classification = output.classes is not None
        self._parameters = tuple(self._declare())

    def parameters(self) -> tuple[Parameter, ...]:
        return self._parameters

    def _declare(self) -> list[Parameter]:
        found: list[Parameter] = []
        if self._inputs.numeric:
            encodings = ("periodic", "piecewise", *(["quantile"] if self._inputs.edges else []))
            embedded = When(parent="numeric", values=encodings)
            binned = When(parent="numeric", values=encodings[1:])
            found += [
                Choice(name="numeric", values=("plain", *encodings)),
                Choice(name="numeric_dim", values=(4, 8, 16), when=embedded),
                Choice(name="frequencies", values=(8, 16, 32), when=When(parent="numeric", values=("periodic",))),
                Real(name="sigma", low=0.02, high=2.0, log=True, when=When(parent="numeric", values=("periodic",))),
                Choice(name="bins", values=(8, 16, 32, 64), when=binned),
            ]
        if self._inputs.discrete:
            found.append(Choice(name="discrete", values=("off", "on")))
        if self._inputs.cardinalities or self._inputs.discrete:
            only = None if self._inputs.cardinalities else When(parent="discrete", values=("on",))
            found.append(Choice(name="embedding", values=(2, 4, 8, 16), when=only))
        deep = When(parent="depth", values=_DEEP)
        found += [
            Choice(name="cross", values=(0, 1, 2, 3)),
            Choice(name="depth", values=_DEPTHS),
            Choice(name="members", values=(1, 4, 8, 16), when=deep),
            Choice(name="ensemble", values=("packed", "tabm"), when=When(parent="members", values=(4, 8, 16))),
            Integer(name="width", low=16, high=512, log=True, when=deep),
            Choice(name="block", values=("plain", "residual"), when=When(parent="depth", values=(2, 3, 4))),
            Choice(name="activation", values=("relu", "gelu", "swish"), when=deep),
            Choice(name="norm", values=("none", "batch", "layer"), when=When(parent="members", values=(1,))),
            Choice(name="dropout", values=(0.0, 0.1, 0.2, 0.3, 0.5), when=deep),
        ]
        return found + self._declare_recipe()

    def _declare_recipe(self) -> list[Parameter]:
        if self._searched == "none":
            return []
        found: list[Parameter] = [
            Real(name="learning_rate", low=3e-4, high=1e-2, log=True),
            Real(name="weight_decay", low=1e-3, high=0.5, log=True),
            Choice(name="batch_size", values=(32, 64, 128, 256)),
            Choice(name="schedule", values=("cosine", "one_cycle", "constant")),
            Choice(name="ema", values=("off", "0.99", "0.998")),
        ]
        if self._classification:
            found.append(Choice(name="label_smoothing", values=(0.0, 0.05)))
        if self._searched == "all":
            found.append(Choice(name="optimizer", values=("adamw", "nadam", "rmsprop", "lion")))
            if self._classification:
                found.append(Choice(name="class_weights", values=("off", "on")))
        return found

    def presets(self) -> tuple[dict[str, Any], ...]:
        """Eight packed networks on the data's bins (research/tabular.md: "N", packed, with averaged weights), the same
        on waves, one plain regularised network, a linear model."""
        base: dict[str, Any] = {
            # Encodings multiply the width of the first layer: of a wide table they would make most of the network.
            "numeric": "periodic" if self._inputs.numeric <= _ENCODED else "plain",
            "discrete": "off",
            "numeric_dim": 8,
            "frequencies": 16,
            "sigma": 0.1,
            "bins": 16,
            "embedding": 8,
            "cross": 0,
            "depth": 2,
            "members": 8,
            "ensemble": "packed",
            "width": 64,
            "block": "plain",
            "activation": "relu",
            "norm": "none",
            "dropout": 0.1,
            **_RECIPE,
        }
        plain = {
            "numeric": "plain",
            "members": 1,
            "width": 128,
            "dropout": 0.3,
            "weight_decay": 0.1,
        }
        linear = {"numeric": "plain", "depth": 0, "learning_rate": 1e-2, "weight_decay": 0.1, "batch_size": 32}
        found = [base, base | plain, base | linear]
        if self._inputs.edges and self._inputs.numeric <= _ENCODED:
            binned = {"numeric": "quantile", "bins": 64, "numeric_dim": 16, "discrete": "on", "batch_size": 128}
            found.insert(0, base | binned)
        return tuple(
            {parameter.name: values[parameter.name] for parameter in active(self._parameters, values)}
            for values in found
        )

    def architecture(self, values: Mapping[str, Any]) -> Architecture:
        self.check(values)
        graph = Graph()
        first = x = self._encode(graph, values)
        for _ in range(values["cross"]):
            x = graph.add("cross", first, x, rank=_CROSS_RANK)
        for layer in range(values["depth"]):
            x = _layer(graph, x, values, first=layer == 0)
        return graph.finish(x, _recipe(values))

    def _encode(self, graph: Graph, values: Mapping[str, Any]) -> str:
        parts = []
        if self._inputs.numeric:
            x = graph.add("input", tensor="numeric")
            if values["numeric"] == "periodic":
                x = graph.add(
                    "periodic",
                    x,
                    frequencies=values["frequencies"],
                    sigma=values["sigma"],
                    dim=values["numeric_dim"],
                )
            elif values["numeric"] == "piecewise":
                x = graph.add("piecewise", x, bins=values["bins"], dim=values["numeric_dim"])
            elif values["numeric"] == "quantile":
                x = graph.add("quantile", x, bins=values["bins"], dim=values["numeric_dim"])
            parts.append(x)
        if self._inputs.plain:
            parts.append(graph.add("input", tensor="plain"))
        if self._inputs.cardinalities:
            parts.append(_embedded(graph, "categorical", values))
        if values.get("discrete") == "on":
            parts.append(_embedded(graph, "discrete", values))
        return graph.add("concat", *parts) if len(parts) > 1 else parts[0]


def _embedded(graph: Graph, tensor: str, values: Mapping[str, Any]) -> str:
    return graph.add("embedding", graph.add("input", tensor=tensor), tensor=tensor, dim=values["embedding"])


def _layer(graph: Graph, x: str, values: Mapping[str, Any], *, first: bool) -> str:
    """Dense, norm, activation, dropout; from the second on with a residual connection where asked for."""
    before = x
    if values["members"] > 1:
        op = "member_dense" if values["ensemble"] == "packed" else "tabm_dense"
        x = graph.add(op, x, members=values["members"], units=values["width"])
    else:
        x = graph.add("dense", x, units=values["width"], bias=values["norm"] != "batch")
        if values["norm"] != "none":
            x = graph.add(f"{values['norm']}_norm", x)
    x = graph.add("activation", x, function=values["activation"])
    if values["dropout"]:
        x = graph.add("dropout", x, rate=values["dropout"])
    if not first and values["block"] == "residual":
        x = graph.add("add", before, x)
    return x


def _recipe(values: Mapping[str, Any]) -> Recipe:
    """What the values do not say is the presets'."""
    chosen = {**_RECIPE, **values}
    lion = chosen["optimizer"] == "lion"  # its steps have the size of the rate: see `nasflow.spaces.image_recipe`
    return Recipe(
        optimizer=chosen["optimizer"],
        learning_rate=chosen["learning_rate"] * (0.1 if lion else 1.0),
        weight_decay=chosen["weight_decay"] * (10.0 if lion else 1.0),
        schedule=chosen["schedule"],
        batch_size=chosen["batch_size"],
        label_smoothing=chosen["label_smoothing"],
        ema=None if chosen["ema"] == "off" else float(chosen["ema"]),
        class_weights=chosen["class_weights"] == "on",
    )
