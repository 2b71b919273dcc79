"""Networks for rows of several kinds of input: a tower for each kind, a fusion, a head, all searched together.

Towers: `nasflow.spaces.text_tower` for texts, `nasflow.spaces.towers` for an image and for the columns of a table.
Fusions: `concat` joins the towers' vectors; `sum` and `product` bring each to one width first; `gated` weighs them row
by row (Arevalo et al. 2017, Gated multimodal units).
"""

from collections.abc import Mapping
from typing import Any

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces import recipe_genes, text_tower, towers
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import Architecture
from nasflow.spaces.graph import Graph
from nasflow.spaces.parameters import Choice, Parameter, When, active

FUSIONS = ("concat", "gated", "sum", "product")
_SAME_WIDTH = FUSIONS[1:]


def kinds(inputs: InputSpec) -> tuple[str, ...]:
    """Which kinds of input a dataset has: ``image``, ``text``, ``table``.

    >>> kinds(InputSpec(numeric=3, image=(8, 8, 1)))
    ('image', 'table')
    """
    table = inputs.numeric or inputs.plain or inputs.cardinalities or inputs.discrete
    has = {"image": inputs.image, "text": inputs.texts, "table": table}
    return tuple(kind for kind, there in has.items() if there)


class MultimodalSpace(Space):
    """For data of two or three of images, texts and a table's columns."""

    name = "multimodal"

    def __init__(self, *, inputs: InputSpec, output: OutputSpec) -> None:
        self._kinds = kinds(inputs)
        if len(self._kinds) < 2:
            raise ValueError(f"MultimodalSpace needs several kinds of input, the data have {' and '.join(self._kinds)}")
        self._inputs, self._output = inputs, output
        genes: list[Parameter] = []
        if "image" in self._kinds:
            genes += towers.image_parameters(inputs, prefix="image_")
        if "text" in self._kinds:
            genes += text_tower.parameters(inputs, prefix="text_", forms=text_tower.FORMS[:2])
        if "table" in self._kinds:
            genes += towers.table_parameters(inputs, prefix="table_")
        genes += [
            Choice(name="fusion", values=FUSIONS),
            Choice(name="fusion_width", values=(32, 64, 128, 256), when=When(parent="fusion", values=_SAME_WIDTH)),
            Choice(name="head", values=(0, 64, 128, 256)),
            Choice(name="dropout", values=(0.0, 0.1, 0.2, 0.3, 0.5)),
            *recipe_genes.parameters(classification=output.classes is not None),
        ]
        if "image" in self._kinds:
            genes += [Choice(name="flip", values=("off", "on")), Choice(name="shift", values=towers.shifts(inputs))]
        self._parameters = tuple(genes)

    def parameters(self) -> tuple[Parameter, ...]:
        return self._parameters

    def presets(self) -> tuple[dict[str, Any], ...]:
        """Strong towers joined, with a bag of words and with convolutions over them; the same, gated."""
        bag, cnn, *_ = text_tower.presets(self._inputs, prefix="text_")
        if "text" in self._kinds:
            form = {"text_form": text_tower.preset_forms(self._output)[-1]}
            bag, cnn = bag | form, cnn | form
        base = {
            **towers.image_preset(self._inputs, prefix="image_"),
            **towers.table_preset(self._inputs, prefix="table_"),
            "fusion": "concat",
            "fusion_width": 128,
            "head": 128,
            "dropout": 0.2,
            "learning_rate": 2e-3,
            "weight_decay": 0.05,
            "batch_size": 64,
            "schedule": "one_cycle",
            "ema": "off",
            "label_smoothing": 0.0,
            "flip": "off",
            "shift": 0,
        }
        found = [base | bag, base | cnn, base | bag | {"fusion": "gated"}]
        chosen = [{gene.name: values[gene.name] for gene in active(self._parameters, values)} for values in found]
        return tuple(values for place, values in enumerate(chosen) if values not in chosen[:place])

    def architecture(self, values: Mapping[str, Any]) -> Architecture:
        self.check(values)
        graph = Graph()
        vectors, wide = list[str](), tuple[str, ...]()
        if "image" in self._kinds:
            vectors.append(towers.write_image(graph, values, prefix="image_"))
        if "text" in self._kinds:
            tower = text_tower.write(graph, self._inputs, values, prefix="text_")
            vectors += [tower.deep] if tower.deep else []
            wide = tower.wide
        if "table" in self._kinds:
            vectors.append(towers.write_table(graph, self._inputs, values, prefix="table_"))
        x = _fused(graph, vectors, values)
        if values["head"]:
            x = graph.add("activation", graph.add("dense", x, units=values["head"], bias=True), function="relu")
        if values["dropout"]:
            x = graph.add("dropout", x, rate=values["dropout"])
        flip, shift = values.get("flip") == "on", values.get("shift", 0)
        recipe = recipe_genes.recipe(values, flip=flip, shift=shift)
        return text_tower.finish(graph, x, wide, self._output, recipe)


def _fused(graph: Graph, vectors: list[str], values: Mapping[str, Any]) -> str:
    if values["fusion"] == "concat":
        return graph.add("concat", *vectors)
    if values["fusion"] == "gated":
        return graph.add("gated_fusion", *vectors, units=values["fusion_width"])
    same = [graph.add("dense", vector, units=values["fusion_width"], bias=True) for vector in vectors]
    if values["fusion"] == "sum":
        return graph.add("activation", graph.add("add", *same), function="relu")
    return graph.add("multiply", *(graph.add("activation", vector, function="tanh") for vector in same))
