"""Which function fits which kind of column."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from nasflow.data.schema import Kind
from nasflow.preprocess.fitting._base import Facts, Fitted
from nasflow.preprocess.fitting.calendar import fit_dates
from nasflow.preprocess.fitting.categories import fit_categories, fit_lists
from nasflow.preprocess.fitting.numbers import fit_numbers
from nasflow.preprocess.fitting.places import fit_vectors
from nasflow.preprocess.fitting.texts import fit_texts
from nasflow.preprocess.planned import PlannedColumn

FITTERS: Mapping[Kind, Callable[[PlannedColumn, Facts], Fitted]] = MappingProxyType(
    {
        "numeric": fit_numbers,
        "integer": fit_numbers,
        "boolean": fit_categories,
        "categorical": fit_categories,
        "datetime": fit_dates,
        "list": fit_lists,
        "vector": fit_vectors,
        "text": fit_texts,
    }
)
