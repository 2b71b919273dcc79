"""Which graph serves which family."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from nasflow.models.served._base import Served
from nasflow.models.served.categorical import ServedCategories
from nasflow.models.served.dates import ServedDates
from nasflow.models.served.discrete import ServedDiscrete
from nasflow.models.served.image import ServedImage
from nasflow.models.served.lists import ServedLists
from nasflow.models.served.numeric import ServedNumbers
from nasflow.models.served.text import ServedTexts
from nasflow.models.served.vectors import ServedVectors

SERVED: Mapping[str, Callable[[Any], Served]] = MappingProxyType(
    {
        "numeric": ServedNumbers,
        "discrete": ServedDiscrete,
        "categorical": ServedCategories,
        "text": ServedTexts,
        "dates": ServedDates,
        "lists": ServedLists,
        "vectors": ServedVectors,
        "image": ServedImage,
    }
)
"""By field of `TransformSpec`: called with the field's columns."""
