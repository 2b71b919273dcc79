"""Raw columns to a network's tensors, in microseconds: `nasflow.data.apply` with everything worked out beforehand.

`apply` goes column by column and makes an Arrow table of each vocabulary at every call, which is right for a million
rows and slow for one. Here all numeric columns are one matrix and a vocabulary is a dict. A family without an entry in
`_FAMILIES`, and a column with a setting that its entry does not know, is left to its own `apply`: a new kind of column
works before it is fast. The golden rows hold the two together each time that a bundle is loaded, and a property test on
any rows.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.data.tensors import dtype_of, is_whole
from nasflow.data.transform import (
    FIRST_ID,
    MISSING_ID,
    UNKNOWN_ID,
    CategoricalTransform,
    DiscreteTransform,
    ImageTransform,
    NumericTransform,
    TransformSpec,
)
from nasflow.data.transforms._base import ColumnTransform, normal
from nasflow.data.transforms.image import image
from nasflow.serving.raw_columns import Numbers, RawColumns
from nasflow.serving.vocabularies import Vocabularies

Raw = Mapping[str, Any]
Tensors = dict[str, NDArray[np.generic]]
Places = Mapping[str, tuple[str, int]]
"""Part's name → its tensor, and its column there."""
Fill = Callable[[Raw, Tensors], None]

_HUGE = 1e300
"""Up to here, and with a standard deviation of one or more, nothing overflows."""


class Encoder:
    """The tensors of a TransformSpec that a network looks at. May be called from several threads at once."""

    def __init__(self, transform: TransformSpec, wanted: Collection[str]) -> None:
        parts = {tensor: parts for tensor, parts in transform.parts.items() if tensor in wanted}
        self._widths = {tensor: len(each) for tensor, each in parts.items() if not is_whole(tensor)}
        self._image = transform.image if "image" in parts else None
        places: dict[str, tuple[str, int]] = {
            part.name: (tensor, place)
            for tensor, each in parts.items()
            if tensor != "image"
            for place, part in enumerate(each)
        }
        columns = [column for column in transform.columns if any(part.name in places for part in column.parts)]
        self._first = columns[0].name if columns else ""
        self._fills: list[Fill] = []
        for family, (make, known) in _FAMILIES.items():
            mine = [column for column in columns if type(column) is family and _plain(column, known)]
            if mine:
                self._fills.append(make(mine, places))
                columns = [column for column in columns if column not in mine]
        self._fills += [_one(column, places) for column in columns]

    def __call__(self, raw: Raw) -> Tensors:
        """As `nasflow.data.apply.apply`, but only the tensors that are wanted.

        Raises:
            DataError: an encoded image cannot be decoded; names the row.
        """
        tensors: Tensors = {}
        if self._image is not None:
            tensors["image"] = _pixels(self._image, raw[self._image.name])
        if self._fills:
            rows = len(raw[self._first])
            for name, width in self._widths.items():
                tensors[name] = np.empty((rows, width), dtype_of(name))
            for fill in self._fills:
                fill(raw, tensors)
        return tensors


def _plain(column: ColumnTransform, known: frozenset[str]) -> bool:
    """Whether all settings but the known ones are at their defaults."""
    fields = type(column).model_fields
    return all(getattr(column, name) == field.default for name, field in fields.items() if name not in known)


def _numeric(columns: Sequence[Any], places: Places) -> Fill:
    matrix = Numbers([column.name for column in columns])
    mean, std, clip = (np.array([getattr(c, field) for c in columns], np.float64) for field in ("mean", "std", "clip"))
    floor = -clip
    targets = _targets([places[column.parts[0].name][1] for column in columns])
    flagged = [place for place, column in enumerate(columns) if column.indicator]
    flags = _targets([places[columns[place].parts[1].name][1] for place in flagged])
    usual = _HUGE * min(1.0, std.min()) if np.abs(mean).max() < _HUGE else 0.0

    def fill(raw: Raw, tensors: Tensors) -> None:
        values = matrix(raw)
        numeric = tensors["numeric"]
        if (
            np.maximum.reduce(np.abs(values), axis=None, initial=0.0) <= usual
        ):  # all finite (a NaN would not be), none huge
            scaled = values - mean
            scaled /= std
            np.maximum(scaled, floor, out=scaled)
            np.minimum(scaled, clip, out=scaled)
            if flagged:
                numeric[:, flags] = 0
        else:
            finite = np.isfinite(values)
            with np.errstate(over="ignore"):  # an overflow is ±inf, which the clip brings back
                scaled = (np.where(finite, values, mean) - mean) / std
            scaled = np.minimum(np.maximum(scaled, floor), clip)
            scaled[~finite] = 0.0
            if flagged:
                numeric[:, flags] = ~finite[:, flagged]
        numeric[:, targets] = scaled

    return fill


def _discrete(columns: Sequence[Any], places: Places) -> Fill:
    matrix = Numbers([column.name for column in columns])
    known = [np.asarray(column.values, np.float64) for column in columns]
    targets = _targets([places[column.parts[0].name][1] for column in columns])

    def fill(raw: Raw, tensors: Tensors) -> None:
        numbers = normal(matrix(raw))
        ids = np.empty(numbers.shape, np.int32)
        for place, values in enumerate(known):
            column = numbers[:, place]
            found = np.minimum(values.searchsorted(column), len(values) - 1)
            ids[:, place] = np.where(values[found] == column, found + FIRST_ID, UNKNOWN_ID)
        ids[~np.isfinite(numbers)] = MISSING_ID
        tensors["discrete"][:, targets] = ids

    return fill


def _categorical(columns: Sequence[Any], places: Places) -> Fill:
    names = tuple(column.name for column in columns)
    lookups = []
    for column in columns:
        ids = {text: place for place, text in enumerate(column.vocabulary, FIRST_ID)}
        ids[""] = MISSING_ID  # also where the vocabulary has it
        lookups.append(ids)
    targets = _targets([places[column.parts[0].name][1] for column in columns])
    finders = [ids.get for ids in lookups]
    unknown = repeat(UNKNOWN_ID)
    tables = Vocabularies(lookups, unknown=UNKNOWN_ID) if all(map(Vocabularies.fits, lookups)) else None

    def fill(raw: Raw, tensors: Tensors) -> None:
        tensor = tensors["categorical"]
        words: Mapping[str, Sequence[str]] = {}
        if type(raw) is RawColumns:
            words = raw.words
            if tables is not None and raw.spans is not None:
                tensor[:, targets] = tables.ids(raw.spans.only([raw.texts.index(name) for name in names])).T
                return
        texts = [words[name] if name in words else raw[name].tolist() for name in names]
        found = chain.from_iterable(map(map, finders, texts, [unknown] * len(names)))
        ids = np.fromiter(found, np.int32, len(names) * len(tensor))
        tensor[:, targets] = ids.reshape(len(names), -1).T

    return fill


def _targets(places: list[int]) -> Any:
    """Places in a tensor; as a slice where they are side by side, which NumPy fills five times as fast."""
    if places and places == list(range(places[0], places[0] + len(places))):
        return slice(places[0], places[0] + len(places))
    return places


def _one(column: ColumnTransform, places: Places) -> Fill:
    """Any column, by its own arithmetic."""
    targets = [places.get(part.name) for part in column.parts]

    def fill(raw: Raw, tensors: Tensors) -> None:
        for target, values in zip(targets, column.apply(raw[column.name]), strict=True):
            if target is None:
                continue
            tensor, place = target
            if is_whole(tensor):
                tensors[tensor] = values
            else:
                tensors[tensor][:, place] = values

    return fill


def _pixels(form: ImageTransform, values: Any) -> NDArray[np.uint8]:
    shape = (form.height, form.width, form.channels)
    same: NDArray[np.uint8] = values if values.shape[1:] == shape else image(form, values)
    return same


_FAMILIES: Mapping[type, tuple[Callable[[Sequence[Any], Places], Fill], frozenset[str]]] = {
    NumericTransform: (_numeric, frozenset({"name", "mean", "std", "clip", "indicator", "edges"})),
    DiscreteTransform: (_discrete, frozenset({"name", "values"})),
    CategoricalTransform: (_categorical, frozenset({"name", "vocabulary"})),
}
"""By family: what makes its columns' part of the tensors, and the settings that it knows."""
