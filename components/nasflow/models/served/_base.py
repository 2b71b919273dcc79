"""What the graph of a family is."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Slots: TypeAlias = dict[str, Any]
"""By slot (`nasflow.data.tensors.SLOTS`), a tensor [rows, columns] in the order of the family's parts, of the slot's
dtype; ``image`` is [rows, height, width, channels]."""
Served: TypeAlias = Callable[[Mapping[str, Any]], Slots]
"""Raw columns by name → slots. A `tf.Module` where it owns tables: the graph tracks them by being reachable from it."""
