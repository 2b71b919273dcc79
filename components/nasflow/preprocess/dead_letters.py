"""Rows that cannot be used: each one is written down with its place and the reason, never dropped in silence."""

from collections import Counter
from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict, Field

from nasflow.core.errors import DataError

MAX_VALUE_LENGTH = 200
MAX_LETTERS = 10_000
"""Letters that one work item keeps in full; beyond it they are only counted."""
DROPPED = "dropped: "
"""How the reasons begin of rows that `data.optimise` left out: asked for, and not bad."""
_SHOWN = 3


class DeadLetter(BaseModel):
    """One unusable row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    row: int
    """The data row in its file, from 1; the header does not count."""
    column: str
    """Where it went wrong; empty where it is the row as a whole."""
    value: str
    """What stood there, cut to `MAX_VALUE_LENGTH` characters."""
    reason: str

    @classmethod
    def of(cls, *, file: str, row: int, column: str, value: object, reason: str) -> "DeadLetter":
        """Cuts the value."""
        return cls(file=file, row=row, column=column, value=str(value)[:MAX_VALUE_LENGTH], reason=reason)


class DeadLetters(BaseModel):
    """Counts by reason, and the letters themselves up to a limit. Mergeable."""

    counts: dict[str, int] = Field(default_factory=dict)
    letters: list[DeadLetter] = Field(default_factory=list)

    @property
    def total(self) -> int:
        """Unusable rows, and those that `data.optimise` left out."""
        return sum(self.counts.values())

    @property
    def dropped(self) -> int:
        """Rows that `data.optimise` left out."""
        return sum(count for reason, count in self.counts.items() if reason.startswith(DROPPED))

    def unusable(self) -> "DeadLetters":
        """Without the rows that `data.optimise` left out."""
        counts = {reason: count for reason, count in self.counts.items() if not reason.startswith(DROPPED)}
        return DeadLetters(counts=counts, letters=[x for x in self.letters if not x.reason.startswith(DROPPED)])

    def add(self, letters: Iterable[DeadLetter]) -> None:
        """Counts all, keeps what fits."""
        for letter in letters:
            self.counts[letter.reason] = self.counts.get(letter.reason, 0) + 1
            if len(self.letters) < MAX_LETTERS:
                self.letters.append(letter)

    def merge(self, other: "DeadLetters") -> None:
        """Adds another's, after these."""
        self.counts = dict(Counter(self.counts) + Counter(other.counts))
        self.letters = [*self.letters, *other.letters]

    def jsonl(self) -> bytes:
        """One JSON object a line, by file and row; a last line says how many more there were."""
        lines = [letter.model_dump_json() for letter in sorted(self.letters, key=lambda x: (x.file, x.row))]
        if more := self.total - len(self.letters):
            lines.append(f'{{"and_more": {more}}}')
        return "".join(f"{line}\n" for line in lines).encode()


def too_many(letters: DeadLetters, *, rows: int, limit: float, file_uri: str) -> DataError:
    """The error for more dead letters than `data.max_bad_fraction` allows."""
    bad = letters.unusable()
    reasons = "; ".join(f"{count:,} × {reason}" for reason, count in by_count(bad.counts))
    first = "; ".join(
        f"{letter.file} row {letter.row}"
        + (f" column {letter.column!r}" if letter.column else "")
        + f": {letter.value!r}"
        for letter in bad.letters[:_SHOWN]
    )
    return DataError(
        f"data: {bad.total:,} of {rows:,} rows ({bad.total / rows:.2%}) cannot be used, more than "
        f"data.max_bad_fraction {limit:g} allows: {reasons}. First: {first}. All of them are in {file_uri}. "
        "Repair the rows, or raise data.max_bad_fraction to go on without them"
    )


def by_count(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """Most frequent first, ties by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
