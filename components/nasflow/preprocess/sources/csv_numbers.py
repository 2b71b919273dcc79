"""Numbers as other countries write them: a decimal comma, marks between groups of three digits."""

import dataclasses
import re
from collections.abc import Set as AbstractSet

import pyarrow as pa
import pyarrow.compute as pc

_GROUPED_BY_COMMA = r"^[+-]?(\d+|\d{1,3}(,\d{3})+)(\.\d+)?$"
_DECIMAL_COMMA = r"^[+-]?(\d*|\d{1,3}(\.\d{3})+),\d+$|^[+-]?(\d+|\d{1,3}(\.\d{3})+)$"


@dataclasses.dataclass(frozen=True, slots=True)
class Style:
    """How a file writes numbers (`data.csv.decimal`, `data.csv.thousands`)."""

    decimal: str = "."
    thousands: str | None = None

    @property
    def usual(self) -> bool:
        """Whether Arrow reads such numbers by itself."""
        return self.decimal == "." and self.thousands is None

    def plain(self, texts: pa.Array) -> pa.Array:
        """Numbers of this style as Arrow reads them; all other text, and null, as it is.

        >>> Style(",", ".").plain(pa.array(["1.234,5", "-2,5", "7", "1.5", "a,b", None])).to_pylist()
        ['1234.5', '-2.5', '7', '1.5', 'a,b', None]
        >>> Style(".", ",").plain(pa.array(["1,234,567.8", "12,34"])).to_pylist()
        ['1234567.8', '12,34']
        """
        if pa.types.is_dictionary(texts.type):
            return pa.DictionaryArray.from_arrays(texts.indices, self.plain(texts.dictionary))
        mark, grouped = re.escape(self.decimal), ""
        if self.thousands is not None:
            grouped = rf"|\d{{1,3}}({re.escape(self.thousands)}\d{{3}})+"
        written = pc.match_substring_regex(texts, rf"^\s*[+-]?(\d*{grouped})({mark}\d*)?([eE][+-]?\d+)?\s*$")
        found = pc.utf8_trim_whitespace(texts)
        if self.thousands is not None:
            found = pc.replace_substring(found, self.thousands, "")
        return pc.if_else(written, pc.replace_substring(found, self.decimal, "."), texts)

    def plain_columns(self, batch: pa.RecordBatch, names: AbstractSet[str] | None) -> pa.RecordBatch:
        """A batch with its columns of text, or those named, in plain style."""
        columns = []
        for field, values in zip(batch.schema, batch.columns, strict=True):
            kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
            reads = pa.types.is_string(kind) and (names is None or field.name in names)
            columns.append(self.plain(values) if reads else values)
        return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def other_style(texts: pa.Array, least: float) -> tuple[Style, str] | None:
    """The style in which at least a share of the values are numbers, and one that the usual style does not read.

    >>> other_style(pa.array(["2667,50", "13", "1.333,20"]), 1.0)
    (Style(decimal=',', thousands='.'), '2667,50')
    >>> other_style(pa.array(["1,234", "56"]), 1.0)
    (Style(decimal='.', thousands=','), '1,234')
    >>> other_style(pa.array(["5", "6"]), 1.0)
    """
    numbers = texts.filter(pc.match_substring_regex(texts, r"^[+-]?[\d.,]+$"))
    with_comma = numbers.filter(pc.match_substring(numbers, ","))
    if not len(with_comma):
        return None

    def share(pattern: str) -> float:
        return float(pc.mean(pc.match_substring_regex(texts, pattern)).as_py())

    example = str(with_comma[0].as_py())
    if share(_GROUPED_BY_COMMA) >= least:
        return Style(".", ","), example
    if share(_DECIMAL_COMMA) >= least:
        dotted = bool(pc.any(pc.match_substring(numbers, ".")).as_py())
        return Style(",", "." if dotted else None), example
    return None
