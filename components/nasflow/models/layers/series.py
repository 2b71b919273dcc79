"""Layers on series (time, channels)."""

from types import MappingProxyType
from typing import Any

import keras

from nasflow.models.layers._base import Makers, Site


def _series(site: Site) -> Any:
    """Columns of a table, channel after channel, as (time, channels)."""
    settings, name = site.settings, site.name
    length, channels, start = settings["length"], settings["channels"], settings["start"]
    x = site.source[:, start : start + length * channels]
    x = keras.layers.Reshape((channels, length), name=f"{name}_channels")(x)
    return keras.layers.Permute((2, 1), name=name)(x)


def _conv(kind: Any, site: Site) -> Any:
    settings = site.settings
    return kind(
        settings["filters"],
        settings["kernel"],
        strides=settings["stride"],
        padding=settings.get("padding", "same"),
        dilation_rate=settings.get("dilation", 1),
        use_bias=settings["bias"],
        name=site.name,
    )(site.source)


def _gru(site: Site) -> Any:
    """Unrolled by no one: a loop over the places, the same on a CPU and in the served graph."""
    settings, both = site.settings, site.settings["both"]
    gru = keras.layers.GRU(
        settings["units"], return_sequences=settings["sequences"], name=f"{site.name}_way" if both else site.name
    )
    return keras.layers.Bidirectional(gru, name=site.name)(site.source) if both else gru(site.source)


MAKERS: Makers = MappingProxyType(
    {
        "series": _series,
        "conv1d": lambda s: _conv(keras.layers.Conv1D, s),
        "separable_conv1d": lambda s: _conv(keras.layers.SeparableConv1D, s),
        "max_pool1d": lambda s: keras.layers.MaxPooling1D(s.settings["size"], padding="same", name=s.name)(s.source),
        "avg_pool1d": lambda s: keras.layers.AveragePooling1D(s.settings["size"], padding="same", name=s.name)(
            s.source
        ),
        "gru": _gru,
        "series_mean": lambda s: keras.layers.GlobalAveragePooling1D(name=s.name)(s.source),
        "series_max": lambda s: keras.layers.GlobalMaxPooling1D(name=s.name)(s.source),
        "series_last": lambda s: keras.layers.Flatten(name=s.name)(s.source[:, -1:]),
    }
)
