"""From token ids to one vector: the genes and nodes that `text` and `multimodal` share.

Forms: `deep` is a body alone, `wide` a linear model on TF-IDF of words and n-grams alone, `wide_deep` the sum of both
models' answers, trained together (Cheng et al. 2016, "Wide & Deep").

Bodies: `bag` (averaged embeddings of words and word n-grams: fastText, Joulin et al. 2017), `cnn` (parallel kernels,
pooled over time: Kim 2014), `bigru`, `transformer` (pre-norm blocks, learned positions).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from nasflow.data.tensors import InputSpec, OutputSpec, text_tensors
from nasflow.spaces.architecture import Architecture, Recipe
from nasflow.spaces.graph import Graph
from nasflow.spaces.parameters import Choice, Parameter, When

FORMS = ("deep", "wide_deep", "wide")
BODIES = ("bag", "cnn", "bigru", "transformer")
_PRESET_FEATURES = 32768
_MOST_WEIGHTS = 16_000_000
"""Of a preset's linear model: 64 MB, of which a training step touches the rows of its batch."""
_KERNELS = {"3": (3,), "5": (5,), "2-3-4": (2, 3, 4), "3-4-5": (3, 4, 5)}


def parameters(
    inputs: InputSpec, *, prefix: str = "", forms: tuple[str, ...] = FORMS, deep: tuple[Parameter, ...] = ()
) -> tuple[Parameter, ...]:
    """Genes of the tower; `deep`: further ones that count where there is a body, whatever conditions they have."""

    def when(parent: str, *values: Any) -> When:
        return When(parent=prefix + parent, values=values)

    pools = ("mean", "max", "mean_max", "attention", *(["idf"] if _have_idf(inputs) else []))
    cnn, gru, transformer = when("body", "cnn"), when("body", "bigru"), when("body", "transformer")
    body = when("form", *(form for form in forms if form != "wide"))
    wide = when("form", *(form for form in forms if form != "deep"))
    return (
        Choice(name=f"{prefix}form", values=forms),
        Choice(name=f"{prefix}wide_most", values=(1, 2, 3), when=wide),
        Choice(name=f"{prefix}wide_features", values=(8192, 32768, 131072), when=wide),
        Choice(name=f"{prefix}wide_strength", values=(1.0, 3.0, 10.0, 30.0), when=wide),
        Choice(name=f"{prefix}wide_dropout", values=(0.0, 0.1, 0.2, 0.3, 0.5), when=wide),
        Choice(name=f"{prefix}body", values=BODIES, when=body),
        Choice(name=f"{prefix}dim", values=(32, 64, 128, 256), when=body),
        Choice(name=f"{prefix}ngrams", values=("off", "2", "2-3"), when=body),
        Choice(name=f"{prefix}buckets", values=(4096, 16384, 65536), when=when("ngrams", "2", "2-3")),
        Choice(name=f"{prefix}word_dropout", values=(0.0, 0.1, 0.2, 0.3, 0.5), when=body),
        Choice(name=f"{prefix}kernels", values=tuple(_KERNELS), when=cnn),
        Choice(name=f"{prefix}filters", values=(32, 64, 96, 128, 192), when=cnn),
        Choice(name=f"{prefix}convolutions", values=(1, 2, 3), when=cnn),
        Choice(name=f"{prefix}units", values=(32, 64, 96, 128), when=gru),
        Choice(name=f"{prefix}layers", values=(1, 2), when=gru),
        Choice(name=f"{prefix}blocks", values=(1, 2, 3), when=transformer),
        Choice(name=f"{prefix}heads", values=(2, 4, 8), when=transformer),
        Choice(name=f"{prefix}expansion", values=(1, 2, 4), when=transformer),
        Choice(name=f"{prefix}pool", values=pools, when=body),
        *(dataclasses.replace(gene, when=body) for gene in deep),
    )


def presets(inputs: InputSpec, *, prefix: str = "") -> tuple[dict[str, Any], ...]:
    """Values of all genes, active or not: one strong tower of each body, in the order of `BODIES`. The bag's words are
    weighted by their idf where the data has it: what a linear model on TF-IDF sees, and a plain mean does not."""
    base: dict[str, Any] = {
        "form": "deep",
        "wide_most": 2,
        "wide_features": _PRESET_FEATURES,
        "wide_strength": 10.0,
        "wide_dropout": 0.0,
        "body": "bag",
        "dim": 64,
        "ngrams": "off",
        "buckets": 16384,
        "word_dropout": 0.5,
        "kernels": "2-3-4",
        "filters": 96,
        "convolutions": 1,
        "units": 64,
        "layers": 1,
        "blocks": 1,
        "heads": 4,
        "expansion": 2,
        "pool": "idf" if _have_idf(inputs) else "mean",
    }
    others = (
        {"body": "cnn", "word_dropout": 0.3, "pool": "max"},
        {"body": "bigru", "word_dropout": 0.3, "pool": "mean_max"},
        {"body": "transformer", "word_dropout": 0.3, "pool": "mean"},
    )
    return tuple({prefix + name: value for name, value in (base | more).items()} for more in ({}, *others))


def preset_forms(output: OutputSpec) -> tuple[str, ...]:
    """Forms that presets should have, `wide_deep` last; where the table of a linear model would be too large, `deep`
    alone."""
    small = _PRESET_FEATURES * (output.classes or 1) <= _MOST_WEIGHTS
    return ("wide", "wide_deep") if small else ("deep",)


def _have_idf(inputs: InputSpec) -> bool:
    return all(text.idf for text in inputs.texts)


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
    """What a tower puts out."""

    deep: str | None
    """The node of the text columns' vectors, joined; None in the form `wide`."""
    wide: tuple[str, ...]
    """Nodes of linear models, whose sum is their answer; none in the form `deep`."""


def write(graph: Graph, inputs: InputSpec, values: Mapping[str, Any], *, prefix: str = "") -> Written:
    """Adds a tower for each text column, all of one form."""
    genes = {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
    ids = {tensor: graph.add("input", tensor=tensor) for tensor in text_tensors(inputs)}
    deep, wide = None, tuple[str, ...]()
    if genes["form"] != "wide":
        vectors = [_tower(graph, tensor, node, genes) for tensor, node in ids.items()]
        deep = graph.add("concat", *vectors) if len(vectors) > 1 else vectors[0]
    if genes["form"] != "deep":
        settings = {name: genes[f"wide_{name}"] for name in ("most", "features", "strength", "dropout")}
        wide = tuple(graph.add("ngram_linear", node, tensor=tensor, **settings) for tensor, node in ids.items())
    return Written(deep, wide)


def finish(graph: Graph, deep: str | None, wide: tuple[str, ...], output: OutputSpec, recipe: Recipe) -> Architecture:
    """Puts the output on the vector `deep`, on the answers `wide`, or on both."""
    if deep is not None and not wide:
        return graph.finish(deep, recipe)
    made = [] if deep is None else [graph.add("dense", deep, units=output.classes or 1, bias=True)]
    return graph.finish(graph.sum([*made, *wide]), recipe, end="logits")


def _tower(graph: Graph, tensor: str, ids: str, genes: Mapping[str, Any]) -> str:
    x = graph.add("token_embedding", ids, tensor=tensor, dim=genes["dim"])
    if genes["ngrams"] != "off":
        sizes = [int(n) for n in genes["ngrams"].split("-")]
        parts = [graph.add("ngram_embedding", ids, n=n, buckets=genes["buckets"], dim=genes["dim"]) for n in sizes]
        x = graph.add("add", x, *parts)
    if genes["word_dropout"]:
        x = graph.add("dropout", x, rate=genes["word_dropout"])
    x = {"bag": _bag, "cnn": _cnn, "bigru": _bigru, "transformer": _transformer}[genes["body"]](graph, x, ids, genes)
    return _pooled(graph, x, ids, tensor, genes["pool"])


def _bag(graph: Graph, x: str, ids: str, genes: Mapping[str, Any]) -> str:
    return x


def _cnn(graph: Graph, x: str, ids: str, genes: Mapping[str, Any]) -> str:
    """Branches of one kernel size each; from the second convolution on with a residual connection."""
    branches = []
    for kernel in _KERNELS[genes["kernels"]]:
        branch = x
        for depth in range(genes["convolutions"]):
            before = branch
            branch = graph.add("token_conv", branch, ids, filters=genes["filters"], kernel=kernel, dilation=1)
            branch = graph.add("activation", branch, function="relu")
            branch = graph.add("add", before, branch) if depth else branch
        branches.append(branch)
    return graph.add("concat", *branches) if len(branches) > 1 else branches[0]


def _bigru(graph: Graph, x: str, ids: str, genes: Mapping[str, Any]) -> str:
    for _ in range(genes["layers"]):
        x = graph.add("token_bigru", x, ids, units=genes["units"])
    return x


def _transformer(graph: Graph, x: str, ids: str, genes: Mapping[str, Any]) -> str:
    """Pre-norm: x + attention(norm(x)), x + dense(gelu(dense(norm(x)))), and a norm at the end."""
    x = graph.add("token_positions", x)
    for _ in range(genes["blocks"]):
        x = graph.add(
            "add", x, graph.add("token_self_attention", graph.add("layer_norm", x), ids, heads=genes["heads"])
        )
        wide = graph.add("token_dense", graph.add("layer_norm", x), units=genes["expansion"] * genes["dim"])
        wide = graph.add("activation", wide, function="gelu")
        x = graph.add("add", x, graph.add("token_dense", wide, units=genes["dim"]))
    return graph.add("layer_norm", x)


def _pooled(graph: Graph, x: str, ids: str, tensor: str, pool: str) -> str:
    if pool == "mean_max":
        return graph.add("concat", graph.add("token_mean", x, ids), graph.add("token_max", x, ids))
    if pool == "idf":
        return graph.add("idf_mean", x, ids, tensor=tensor)
    return graph.add(f"token_{pool}", x, ids)
