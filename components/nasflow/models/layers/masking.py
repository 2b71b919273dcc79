"""Which places of a text hold a token, as Keras tensors."""

from typing import Any

import keras


def mask_of(ids: Any) -> Any:
    """Of shape [rows, length, 1]: 1 where there is a token."""
    return keras.ops.expand_dims(keras.ops.cast(keras.ops.not_equal(ids, 0), keras.backend.floatx()), -1)


def held(x: Any, ids: Any, name: str) -> Any:
    """0 where there is no token; `name`: of the node."""
    return keras.layers.Multiply(name=f"{name}_held")([x, mask_of(ids)])


def summed(name: str, *parts: Any) -> Any:
    """As a layer with a name: Keras would call its own `add_3`, as the architecture may call another node."""
    return keras.layers.Add(name=name)(list(parts))


def product(name: str, x: Any, by: Any) -> Any:
    """The same for products: Keras would call its own `multiply_3`. `by`: a tensor, or a number."""
    factor = keras.ops.full_like(x, by) if isinstance(by, int | float) else by
    return keras.layers.Multiply(name=name)([x, factor])
