"""A text a line with its label, as fastText (``__label__sport The match …``) or as ``label<TAB>text``. A file is a
piece."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pyarrow as pa

from nasflow.core.errors import DataError
from nasflow.preprocess.dead_letters import DeadLetter
from nasflow.preprocess.sources._base import SAMPLE_ROWS, TEXT, Piece, Profile, RowBatch
from nasflow.preprocess.sources.files import decompressed
from nasflow.preprocess.sources.text_folder import NOT_UTF8

MARK = "__label__"
BLOCK_BYTES = 8 << 20
NO_LABEL = "no label"
SEVERAL_LABELS = "more than one label"
_MOSTLY = 0.9

Style = Literal["fasttext", "tabs"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TextLines:
    """One or more files (``.txt``, also compressed). Columns: ``text`` and the label. Empty lines are no rows."""

    files: tuple[str, ...]
    label: str
    style: Style
    form: str = "text lines"
    kind: Literal["table", "image"] = "table"
    text: bool = False

    @classmethod
    def of(cls, files: tuple[str, ...], label: str) -> "TextLines":
        """Looks at the beginning of each file.

        Raises:
            DataError: the lines have no labels, or files differ in how they write them.
        """
        styles = {file: _style(file) for file in files}
        if len(set(styles.values())) > 1:
            shown = "; ".join(f"{file}: {style}" for file, style in styles.items())
            raise DataError(f"text files write their labels differently ({shown}); write all in one way")
        return cls(files=files, label=label, style=styles[files[0]])

    def pieces(self) -> list[Piece]:
        return [Piece(files=(file,)) for file in self.files]

    def profiles(self) -> Iterator[Profile]:
        for file in self.files:
            with decompressed(file) as handle:
                sample = self._batch(file, 1, list(itertools.islice(handle, SAMPLE_ROWS))).columns
            yield Profile(file=file, schema=sample.schema, sample=sample)

    def read(self, piece: Piece) -> Iterator[RowBatch]:
        """Batches of about `BLOCK_BYTES`. Rows are numbered by line."""
        (file,) = piece.files
        first = 1
        with decompressed(file) as handle:
            while lines := handle.readlines(BLOCK_BYTES):
                yield self._batch(file, first, lines)
                first += len(lines)

    def _batch(self, file: str, first: int, lines: list[bytes]) -> RowBatch:
        texts: list[str] = []
        labels: list[str] = []
        numbers: list[int] = []
        dead: list[DeadLetter] = []
        for number, line in enumerate(lines, start=first):
            if not line.strip():
                continue
            try:
                label, text = _parsed(line.decode("utf-8-sig" if number == 1 else "utf-8"), self.style)
            except ValueError as error:
                reason = NOT_UTF8 if isinstance(error, UnicodeDecodeError) else str(error)
                value = line[:1000].decode("utf-8", "backslashreplace").rstrip("\r\n")
                dead.append(DeadLetter.of(file=file, row=number, column=TEXT, value=value, reason=reason))
                continue
            texts.append(text)
            labels.append(label)
            numbers.append(number)
        columns = pa.RecordBatch.from_pydict(
            {TEXT: pa.array(texts, pa.string()), self.label: pa.array(labels, pa.string())}
        )
        return RowBatch(files=(file,), rows=np.asarray(numbers, np.int64), columns=columns, dead=tuple(dead))


def _parsed(line: str, style: Style) -> tuple[str, str]:
    r"""Label and text.

    >>> _parsed("__label__sport The match\n", "fasttext"), _parsed("sport\tThe match\tended", "tabs")
    (('sport', 'The match'), ('sport', 'The match\tended'))

    Raises:
        ValueError: there is no label, or more than one.
    """
    line = line.rstrip("\r\n")
    if style == "tabs":
        label, tab, text = line.partition("\t")
        if not tab or not label.strip():
            raise ValueError(NO_LABEL)
        return label.strip(), text
    label, _, text = line.lstrip().partition(" ")
    if not label.startswith(MARK) or label == MARK:
        raise ValueError(NO_LABEL)
    if text.lstrip().startswith(MARK):
        raise ValueError(SEVERAL_LABELS)
    return label.removeprefix(MARK), text


def _style(file: str) -> Style:
    with decompressed(file) as handle:
        lines = [line.decode("utf-8", "replace") for line in itertools.islice(handle, SAMPLE_ROWS) if line.strip()]
    if not lines:
        raise DataError(f"{file}: no text in it; name a file of one text a line")
    marked = sum(line.lstrip("\ufeff ").startswith(MARK) for line in lines)
    tabbed = sum("\t" in line for line in lines)
    if marked >= _MOSTLY * len(lines):
        return "fasttext"
    if tabbed >= _MOSTLY * len(lines):
        return "tabs"
    raise DataError(
        f"{file}: lines without labels, e.g. {lines[0].rstrip()!r:.80}; write each as '{MARK}CLASS text' (as fastText) "
        "or as 'CLASS<TAB>text', or put each text into a file of its own in a folder named after its class"
    )
