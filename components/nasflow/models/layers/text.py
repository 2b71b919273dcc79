"""Keras layers of `nasflow.spaces.operations.text`. Padding is masked everywhere: what a model says of a text does not
depend on the length that it was padded to."""

from types import MappingProxyType
from typing import Any

import keras

from nasflow.data.tensors import text_place
from nasflow.models.layers._base import Makers, Site
from nasflow.models.layers.masking import held, mask_of, product, summed

_LOW = -3e4


def _token_embedding(site: Site) -> Any:
    (ids,) = site.sources
    table = keras.layers.Embedding(
        site.inputs.texts[text_place(site.settings["tensor"])].ids, site.settings["dim"], name=site.name
    )
    return held(table(ids), ids, site.name)


def _positions(site: Site) -> Any:
    (x,) = site.sources
    length, dim = x.shape[1:]
    ones = keras.ops.ones_like(x[:, :, :1])
    learned = keras.layers.EinsumDense(
        "nlo,ld->nld", (length, dim), kernel_initializer=keras.initializers.RandomNormal(stddev=0.02), name=site.name
    )(ones)
    return summed(f"{site.name}_sum", x, learned)


def _conv(site: Site) -> Any:
    x, ids = site.sources
    s = site.settings
    conv = keras.layers.Conv1D(s["filters"], s["kernel"], dilation_rate=s["dilation"], padding="same", name=site.name)
    return held(conv(held(x, ids, f"{site.name}_in")), ids, site.name)


def _bigru(site: Site) -> Any:
    x, ids = site.sources
    gru = keras.layers.GRU(site.settings["units"], return_sequences=True)
    both = keras.layers.Bidirectional(gru, name=site.name)(x, mask=keras.ops.not_equal(ids, 0))
    return held(both, ids, site.name)


def _self_attention(site: Site) -> Any:
    x, ids = site.sources
    heads = site.settings["heads"]
    layer = keras.layers.MultiHeadAttention(heads, x.shape[-1] // heads, flash_attention=False, name=site.name)
    seen = keras.ops.expand_dims(keras.ops.not_equal(ids, 0), 1)
    return held(layer(x, x, attention_mask=seen), ids, site.name)


def _token_dense(site: Site) -> Any:
    return keras.layers.Dense(site.settings["units"], name=site.name)(site.sources[0])


def _token_mean(site: Site) -> Any:
    x, ids = site.sources
    return _weighed(site, x, mask_of(ids))


def _token_max(site: Site) -> Any:
    """0 where there is no token."""
    x, ids = site.sources
    mask = mask_of(ids)
    seen = summed(f"{site.name}_seen", x, product(f"{site.name}_low", 1 - mask, _LOW))
    return product(f"{site.name}_held", keras.ops.max(seen, axis=1), keras.ops.max(mask, axis=1))


def _token_attention(site: Site) -> Any:
    x, ids = site.sources
    mask = mask_of(ids)
    scores = keras.layers.Dense(1, use_bias=False, name=site.name)(x)
    seen = summed(f"{site.name}_seen", scores, product(f"{site.name}_low", 1 - mask, _LOW))
    return _weighed(site, x, product(f"{site.name}_held", keras.ops.softmax(seen, axis=1), mask))


def _idf_mean(site: Site) -> Any:
    x, ids = site.sources
    idf = site.inputs.texts[text_place(site.settings["tensor"])].idf
    known = keras.layers.Embedding(
        len(idf),
        1,
        embeddings_initializer=keras.initializers.Constant([[value] for value in idf]),
        trainable=False,
        name=site.name,
    )
    return _weighed(site, x, product(f"{site.name}_held", known(ids), mask_of(ids)))


def _gated(site: Site) -> Any:
    units = site.settings["units"]
    states = [
        keras.layers.Dense(units, activation="tanh", name=f"{site.name}_{place}")(x)
        for place, x in enumerate(site.sources)
    ]
    together = keras.layers.Concatenate(name=f"{site.name}_all")(list(site.sources))
    weights = keras.layers.Dense(len(states), activation="softmax", name=site.name)(together)
    weighed = product(f"{site.name}_weighed", keras.ops.stack(states, axis=1), keras.ops.expand_dims(weights, -1))
    return keras.ops.sum(weighed, axis=1)


def _weighed(site: Site, x: Any, weights: Any) -> Any:
    """Σ weight · x / Σ weight; 0 where all weights are 0."""
    total = keras.ops.sum(weights, axis=1)
    return keras.ops.sum(product(f"{site.name}_weighed", x, weights), axis=1) / keras.ops.maximum(total, 1e-6)


MAKERS: Makers = MappingProxyType(
    {
        "token_embedding": _token_embedding,
        "token_positions": _positions,
        "token_conv": _conv,
        "token_bigru": _bigru,
        "token_self_attention": _self_attention,
        "token_dense": _token_dense,
        "token_mean": _token_mean,
        "token_max": _token_max,
        "token_attention": _token_attention,
        "idf_mean": _idf_mean,
        "gated_fusion": _gated,
    }
)
