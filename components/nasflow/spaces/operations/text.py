"""Operations on text, and those that join several kinds of input.

    op                settings                inputs → output (without the batch dimension)
    token_embedding   tensor dim              ids (length,) → (length, dim)
    ngram_embedding   n buckets dim           ids → (length, dim): of the n tokens from each place on, by their hash
    ngram_linear      tensor most features    ids → (classes,) or (1,): a linear model on TF-IDF of words and of their
                      strength dropout        n-grams up to `most`: see `nasflow.models.layers.ngrams`
    token_positions                           (length, dim) → the same, a learned vector a place added
    token_conv        filters kernel dilation (length, dim), ids → (length, filters)
    token_bigru       units                   (length, dim), ids → (length, 2 · units): forwards and backwards
    token_self_attention  heads               (length, dim), ids → (length, dim): multi-head self-attention
    token_dense       units                   (length, dim) → (length, units)
    token_mean token_max                      (length, dim), ids → (dim,)
    token_attention                           (length, dim), ids → (dim,): weighted by a learned query
    idf_mean          tensor                  (length, dim), ids → (dim,): weighted by the data's idf
    gated_fusion      units                   k inputs (d,) → (units,): each through tanh(dense), weighted by a softmax
                                              over the inputs of dense(all): Arevalo et al. 2017, §3.1, for k kinds

Where `ids` is an input it says which places hold a token: nothing else depends on how long a text was padded to.
FLOPs are those of the whole length, as it is computed. Recurrent and attention products count as their matrices.
"""

import math
from types import MappingProxyType

from nasflow.data.tensors import text_place, text_tensors
from nasflow.spaces.architecture import Shape
from nasflow.spaces.operations._base import Context, Measure, Operation, Table

NGRAMS = (2, 3)
MOST_BUCKETS = 1 << 16
"""More, and the hash of n tokens would overflow an int32."""
MOST_FEATURES = 1 << 18
"""About as many as there are hashes of one length."""


def _embedded(c: Context) -> Measure:
    (length,) = c.one(1)
    tensor = c.settings["tensor"]
    if tensor not in text_tensors(c.inputs):
        raise ValueError("the data has no such text")
    text, dim = c.inputs.texts[text_place(tensor)], c.whole("dim")
    if length != text.length:
        raise ValueError("it takes the tensor of ids itself")
    return Measure((length, dim), text.ids * dim)


def _ngrams(c: Context) -> Measure:
    (length,) = c.one(1)
    buckets, dim = c.whole("buckets"), c.whole("dim")
    if c.settings["n"] not in NGRAMS or buckets > MOST_BUCKETS:
        raise ValueError(f"n must be one of {NGRAMS}, buckets at most {MOST_BUCKETS}")
    return Measure((length, dim), buckets * dim)


def _linear(c: Context) -> Measure:
    (length,) = c.one(1)
    tensor, most, features = c.settings["tensor"], c.whole("most"), c.whole("features")
    if tensor not in text_tensors(c.inputs) or length != c.inputs.texts[text_place(tensor)].length:
        raise ValueError("the data has no such text")
    if most > NGRAMS[-1] or features > MOST_FEATURES:
        raise ValueError(f"most must be at most {NGRAMS[-1]}, features at most {MOST_FEATURES}")
    if not 0 <= float(c.settings["dropout"]) < 1 or not float(c.settings["strength"]) > 0:
        raise ValueError("dropout must be in [0, 1), strength > 0")
    units = c.output.classes or 1
    return Measure((units,), features * units, (most * length + 1) * units)


def _positions(c: Context) -> Measure:
    shape = c.one(2)
    return Measure(shape, math.prod(shape))


def _conv(c: Context) -> Measure:
    length, width = _masked(c)
    filters, kernel = c.whole("filters"), c.whole("kernel")
    c.whole("dilation")
    weights = kernel * width * filters
    return Measure((length, filters), weights + filters, length * weights)


def _bigru(c: Context) -> Measure:
    length, width = _masked(c)
    units = c.whole("units")
    products = 2 * 3 * units * (width + units)
    return Measure((length, 2 * units), products + 2 * 3 * 2 * units, length * products)


def _self_attention(c: Context) -> Measure:
    length, width = _masked(c)
    heads = c.whole("heads")
    if width % heads:
        raise ValueError(f"{heads} heads do not divide a width of {width}")
    return Measure((length, width), 4 * width * (width + 1), 4 * length * width * width + 2 * length * length * width)


def _token_dense(c: Context) -> Measure:
    length, width = c.one(2)
    units = c.whole("units")
    return Measure((length, units), (width + 1) * units, length * width * units)


def _pooled(c: Context) -> Measure:
    return Measure((_masked(c)[1],))


def _token_attention(c: Context) -> Measure:
    length, width = _masked(c)
    return Measure((width,), width, 2 * length * width)


def _idf_mean(c: Context) -> Measure:
    tensor = c.settings["tensor"]
    if tensor not in text_tensors(c.inputs) or not c.inputs.texts[text_place(tensor)].idf:
        raise ValueError("the data has no idf of such a text")
    return _pooled(c)


def _gated(c: Context) -> Measure:
    if len(c.shapes) < 2 or any(len(shape) != 1 for shape in c.shapes):
        raise ValueError("two or more inputs of rank 1 are needed")
    units, count = c.whole("units"), len(c.shapes)
    widths = sum(shape[0] for shape in c.shapes)
    return Measure((units,), (widths + count) * units + (widths + 1) * count, widths * units + widths * count)


def _masked(c: Context) -> Shape:
    """The shape of the first input, the second being the ids of the same places."""
    if len(c.shapes) != 2 or len(c.shapes[0]) != 2 or c.shapes[1] != c.shapes[0][:1]:
        raise ValueError("inputs (length, dim) and (length,) are needed")
    return c.shapes[0]


OPERATIONS: Table = MappingProxyType(
    {
        "token_embedding": Operation(_embedded, weighted=True),
        "ngram_embedding": Operation(_ngrams, weighted=True),
        "ngram_linear": Operation(_linear, weighted=True),
        "token_positions": Operation(_positions),
        "token_conv": Operation(_conv, weighted=True),
        "token_bigru": Operation(_bigru, weighted=True),
        "token_self_attention": Operation(_self_attention, weighted=True),
        "token_dense": Operation(_token_dense, weighted=True),
        "token_mean": Operation(_pooled),
        "token_max": Operation(_pooled),
        "token_attention": Operation(_token_attention, weighted=True),
        "idf_mean": Operation(_idf_mean),
        "gated_fusion": Operation(_gated, weighted=True),
    }
)
