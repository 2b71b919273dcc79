"""Column names as keyword names of a TensorFlow signature."""

import keyword
import re
from collections.abc import Sequence

_RESERVED = frozenset({"self", "args", "kwargs", "name"})


def tensor_names(columns: Sequence[str]) -> dict[str, str]:
    """Column → keyword: an ASCII identifier, unique without regard to case, stable for the same columns.

    TensorFlow wants Python identifiers, and folds case in some of its own names.

    >>> tensor_names(["capital gain", "capital-gain", "1st", "", "class", "größe"])
    {'capital gain': 'capital_gain', 'capital-gain': 'capital_gain_2', '1st': 'c_1st', '': 'column', \
'class': 'class_', 'größe': 'gr_e'}
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for column in columns:
        base = name = _identifier(column)
        number = 2
        while name.lower() in taken:
            name = f"{base}_{number}"
            number += 1
        taken.add(name.lower())
        names[column] = name
    return names


def _identifier(column: str) -> str:
    name = re.sub(r"[^A-Za-z0-9]+", "_", column).strip("_") or "column"
    if name[0].isdigit():
        name = f"c_{name}"
    return f"{name}_" if keyword.iskeyword(name) or name in _RESERVED else name
