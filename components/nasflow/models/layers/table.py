"""Layers on the columns of a table: encodings, packed networks."""

import math
from types import MappingProxyType
from typing import Any

import keras
import numpy as np

from nasflow.models.layers._base import Makers, Site
from nasflow.spaces.bins import bins_of, widest
from nasflow.spaces.operations import ids_of


def _embedding(site: Site) -> Any:
    """One table for all columns: each column's ids are moved behind those of the columns before it.

    In float32 whatever the precision: bfloat16 has no 257.
    """
    name = site.name
    offsets = np.cumsum([0, *ids_of(site.inputs, site.settings.get("tensor", "categorical"))])
    starts = [float(offset) for offset in offsets[:-1]]
    shifted = keras.layers.Rescaling(1.0, offset=starts, name=f"{name}_offsets", dtype="float32")(site.source)
    table = keras.layers.Embedding(
        int(offsets[-1]), site.settings["dim"], embeddings_initializer="glorot_uniform", name=name
    )
    return keras.layers.Flatten(name=f"{name}_flat")(table(shifted))


def _periodic(site: Site) -> Any:
    """ReLU(linear([sin 2πcx, cos 2πcx])) for each feature x, with learned c ~ N(0, sigma)."""
    numeric, settings, name = site.source, site.settings, site.name
    angles = keras.layers.EinsumDense(
        "nf,fk->nfk",
        (numeric.shape[-1], settings["frequencies"]),
        kernel_initializer=keras.initializers.RandomNormal(stddev=2 * math.pi * settings["sigma"]),
        name=f"{name}_angles",
    )(numeric)
    waves = keras.layers.Concatenate(name=f"{name}_waves")([keras.ops.sin(angles), keras.ops.cos(angles)])
    return _per_feature(name, waves, settings["dim"])


def _piecewise(site: Site) -> Any:
    """ReLU(linear(clip(ax + c, 0, 1))) for each feature x: a piecewise-linear encoding whose bins are learned.

    They start at equal steps of asinh(x) between ±6 standard deviations: finest about the mean, yet long tails count.
    """
    numeric, settings, name = site.source, site.settings, site.name
    features = numeric.shape[-1]
    edges = np.sinh(np.linspace(-2.5, 2.5, settings["bins"] + 1))
    slopes = 1 / np.diff(edges)
    bins = keras.layers.EinsumDense(
        "nf,fk->nfk",
        (features, settings["bins"]),
        bias_axes="fk",
        kernel_initializer=keras.initializers.Constant(slopes.tolist()),
        bias_initializer=keras.initializers.Constant((-edges[:-1] * slopes).tolist()),
        name=f"{name}_bins",
    )(numeric)
    return _per_feature(name, keras.layers.ReLU(max_value=1.0, name=f"{name}_clip")(bins), settings["dim"])


def _quantile(site: Site) -> Any:
    """ReLU(linear(clip((x − low) / (high − low), 0, 1) of each bin)) for each feature x, the bins fixed.

    The piecewise-linear encoding of Gorishniy et al. 2022 (On Embeddings for Numerical Features, §3.2), but with edges
    at quantiles of the distinct values, and what lies outside of them cut off. A column of fewer bins than the widest
    has bins that are always 0.
    """
    numeric, inputs, settings, name = site.source, site.inputs, site.settings, site.name
    features = numeric.shape[-1]
    slopes = np.zeros((features, widest(inputs, settings["bins"])))
    starts = np.zeros_like(slopes)
    for feature, bins in enumerate(bins_of(inputs, settings["bins"])):
        for place, (low, high) in enumerate(bins):
            slopes[feature, place] = 1 / (high - low)
            starts[feature, place] = -low / (high - low)
    bins = keras.layers.EinsumDense(
        "nf,fk->nfk",
        slopes.shape,
        bias_axes="fk",
        kernel_initializer=keras.initializers.Constant(slopes.tolist()),
        bias_initializer=keras.initializers.Constant(starts.tolist()),
        trainable=False,
        name=f"{name}_bins",
    )(numeric)
    return _per_feature(name, keras.layers.ReLU(max_value=1.0, name=f"{name}_clip")(bins), settings["dim"])


def _per_feature(name: str, values: Any, dim: int) -> Any:
    """[rows, features, k] → [rows, features · dim], a layer of its own for each feature."""
    features, width = values.shape[1:]
    limit = math.sqrt(1 / width)
    mixed = keras.layers.EinsumDense(
        "nfk,fkd->nfd",
        (features, dim),
        bias_axes="fd",
        activation="relu",
        # Keras would count the features into the fan-in; each has a layer of its own.
        kernel_initializer=keras.initializers.RandomUniform(-limit, limit),
        name=name,
    )(values)
    return keras.layers.Flatten(name=f"{name}_flat")(mixed)


def member_dense(x: Any, members: int, units: int, name: str) -> Any:
    """[rows, d] or [rows, members, d] → [rows, members, units]: a layer of its own for each member."""
    limit = math.sqrt(6 / (x.shape[-1] + units))  # Glorot's, for each member by itself
    return keras.layers.EinsumDense(
        "nd,mdu->nmu" if len(x.shape) == 2 else "nmd,mdu->nmu",
        (members, units),
        bias_axes="mu",
        kernel_initializer=keras.initializers.RandomUniform(-limit, limit),
        name=name,
    )(x)


def _tabm_dense(site: Site) -> Any:
    """((x ⊙ r) W) ⊙ s + b, with r, s and b of each member; r ~ N(0, 1) where the members part, later 1 as s is."""
    x, name = site.source, site.name
    members, units = site.settings["members"], site.settings["units"]
    parting = len(x.shape) == 2
    x = keras.layers.EinsumDense(
        "nd,md->nmd" if parting else "nmd,md->nmd",
        (members, x.shape[-1]),
        kernel_initializer=keras.initializers.RandomNormal(stddev=1.0) if parting else "ones",
        name=f"{name}_in",
    )(x)
    x = keras.layers.Dense(units, use_bias=False, name=f"{name}_shared")(x)
    return keras.layers.EinsumDense(
        "nmu,mu->nmu", (members, units), bias_axes="mu", kernel_initializer="ones", name=name
    )(x)


def _cross(site: Site) -> Any:
    """x₀ ⊙ (U V x + b) + x: products of columns, of a degree more each layer."""
    first, x = site.sources
    name = site.name
    low = keras.layers.Dense(site.settings["rank"], use_bias=False, name=f"{name}_low")(x)
    weights = keras.layers.Dense(x.shape[-1], name=f"{name}_weights")(low)
    product = keras.layers.Multiply(name=f"{name}_product")([first, weights])
    return keras.layers.Add(name=name)([product, x])


MAKERS: Makers = MappingProxyType(
    {
        "tabm_dense": _tabm_dense,
        "cross": _cross,
        "embedding": _embedding,
        "periodic": _periodic,
        "piecewise": _piecewise,
        "quantile": _quantile,
        "member_dense": lambda s: member_dense(s.source, s.settings["members"], s.settings["units"], s.name),
    }
)
