"""Layers on images."""

from types import MappingProxyType
from typing import Any

import keras

from nasflow.models.layers._base import Makers, Site


def _options(site: Site) -> dict[str, Any]:
    """What all convolutions share."""
    settings = site.settings
    return {
        "kernel_size": settings["kernel"],
        "strides": settings["stride"],
        "padding": settings.get("padding", "same"),
        "dilation_rate": settings.get("dilation", 1),
        "use_bias": settings["bias"],
        "name": site.name,
    }


def _pool(kind: Any, site: Site) -> Any:
    settings = site.settings
    return kind(
        settings["size"],
        strides=settings.get("stride", settings["size"]),
        padding=settings.get("padding", "same"),
        name=site.name,
    )(site.source)


def _squeeze_excite(site: Site) -> Any:
    """Channels, each times a number in 0–1 that all pixels together say (Hu et al. 2018, §3)."""
    x, name = site.source, site.name
    channels = x.shape[-1]
    squeezed = max(1, channels // site.settings["ratio"])
    said = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool")(x)
    said = keras.layers.Dense(squeezed, activation="relu", name=f"{name}_squeeze")(said)
    said = keras.layers.Dense(channels, activation="sigmoid", name=f"{name}_excite")(said)
    return keras.layers.Multiply(name=name)([x, said])


MAKERS: Makers = MappingProxyType(
    {
        "conv": lambda s: keras.layers.Conv2D(s.settings["filters"], **_options(s))(s.source),
        "separable_conv": lambda s: keras.layers.SeparableConv2D(s.settings["filters"], **_options(s))(s.source),
        "depthwise_conv": lambda s: keras.layers.DepthwiseConv2D(**_options(s))(s.source),
        "max_pool": lambda s: _pool(keras.layers.MaxPooling2D, s),
        "avg_pool": lambda s: _pool(keras.layers.AveragePooling2D, s),
        "global_avg_pool": lambda s: keras.layers.GlobalAveragePooling2D(name=s.name)(s.source),
        "global_max_pool": lambda s: keras.layers.GlobalMaxPooling2D(name=s.name)(s.source),
        "squeeze_excite": _squeeze_excite,
    }
)
