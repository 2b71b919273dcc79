"""Networks for text: a tower over the tokens of each text column, then a head. See `nasflow.spaces.text_tower`."""

from collections.abc import Mapping
from typing import Any

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces import recipe_genes, text_tower
from nasflow.spaces._base import Space
from nasflow.spaces.architecture import Architecture
from nasflow.spaces.graph import Graph
from nasflow.spaces.parameters import Choice, Parameter, active


class TextSpace(Space):
    """For data whose only feature columns are texts; other columns, if there are any, are not looked at."""

    name = "text"

    def __init__(self, *, inputs: InputSpec, output: OutputSpec) -> None:
        if not inputs.texts:
            raise ValueError("TextSpace needs a text column")
        self._inputs, self._output = inputs, output
        head = (
            Choice(name="head", values=(0, 64, 128, 256)),
            Choice(name="dropout", values=(0.0, 0.1, 0.2, 0.3, 0.5)),
        )
        self._parameters = (
            *text_tower.parameters(inputs, deep=head),
            *recipe_genes.parameters(classification=output.classes is not None),
        )

    def parameters(self) -> tuple[Parameter, ...]:
        return self._parameters

    def presets(self) -> tuple[dict[str, Any], ...]:
        """A linear model on TF-IDF beside a bag of words; the linear model alone, which is nearly as good and costs a
        fraction; one beside Kim's CNN; a bidirectional GRU and a transformer block alone. With so many classes that the
        linear model would have 16 million weights and more, bodies alone."""
        recipe = {
            "head": 0,
            "dropout": 0.2,
            "learning_rate": 5e-3,
            "weight_decay": 0.05,
            "batch_size": 64,
            "schedule": "one_cycle",
            "ema": "off",
            "label_smoothing": 0.0,
        }
        bag, cnn, gru, transformer = text_tower.presets(self._inputs)
        forms = text_tower.preset_forms(self._output)
        calm = {"dropout": 0.5, "learning_rate": 2e-3}
        bags = [recipe | bag | calm | {"form": form} for form in reversed(forms)]
        if forms == ("deep",):  # pairs of words are the body's business then
            bags = [recipe | bag | {"form": "deep", "ngrams": "2", "word_dropout": 0.3}]
        found = (
            *bags,
            recipe | cnn | calm | {"form": forms[-1]},
            recipe | gru | {"dropout": 0.3, "learning_rate": 2e-3},
            recipe | transformer | {"learning_rate": 1e-3},
        )
        return tuple({gene.name: values[gene.name] for gene in active(self._parameters, values)} for values in found)

    def architecture(self, values: Mapping[str, Any]) -> Architecture:
        self.check(values)
        graph = Graph()
        tower = text_tower.write(graph, self._inputs, values)
        x = tower.deep
        if x is not None and values["head"]:
            x = graph.add("activation", graph.add("dense", x, units=values["head"], bias=True), function="relu")
        if x is not None and values["dropout"]:
            x = graph.add("dropout", x, rate=values["dropout"])
        return text_tower.finish(graph, x, tower.wide, self._output, recipe_genes.recipe(values))
