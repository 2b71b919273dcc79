"""What text becomes before it is cut into tokens: one fixed table from each character to what replaces it.

Case is folded, compatibility forms and accents are decomposed (NFKD), separators become spaces, invisible format
characters vanish, and characters that are words by themselves get spaces around them: punctuation, symbols, emoji, and
the letters of scripts that put no spaces between words (Han, kana, Thai, Lao, Khmer, Myanmar). Words are then what
stands between spaces.

NumPy and TensorFlow look up the same integers, so both cut alike, whatever Unicode version their libraries know. The
table is of Unicode 3.2, which every Python has (`unicodedata.ucd_3_2_0`) and which never changes; letters that are
younger stand for themselves, without case. Hangul syllables are not decomposed.

>>> fold("FINE™ ①²"), fold("don't"), fold("日本")
('finetm 12', "don ' t", ' 日  本 ')
"""

import dataclasses
import functools
import unicodedata

import numpy as np
from numpy.typing import NDArray

LIMIT = 0x20000
"""Characters from here on (rare Han, tags) are words by themselves or stand for themselves; see `Characters.place`."""
SPACE = 0x20
SAME = -1
"""In `Characters.flat`: the character itself."""
_ITSELF, _ALONE = 0, 1
_HANGUL = range(0xAC00, 0xD7A4)
_NO_SPACES = (
    range(0x0E01, 0x0E4F),  # Thai
    range(0x0E81, 0x0EDE),  # Lao
    range(0x1000, 0x1050),  # Myanmar
    range(0x1780, 0x17D4),  # Khmer
    range(0x3041, 0x30FF),  # kana
    range(0x31F0, 0x3200),
    range(0x3400, 0x4DB6),  # Han
    range(0x4E00, 0xA000),
    range(0xF900, 0xFB00),
    range(0xFF66, 0xFF9E),  # narrow kana
)
_PICTURES = (range(0x2190, 0x2400), range(0x2460, 0x27C0), range(0x2900, 0x2C00), range(0x1F000, 0x20000))
_SELECTORS = range(0xFE00, 0xFE10)
_INVISIBLE = (0xAD, 0xFFFE, 0xFFFF)
"""The soft hyphen, and what is no character."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Characters:
    """The table. A character's replacement is ``flat[starts[p]:starts[p + 1]]`` with its place p."""

    places: NDArray[np.int32]
    """int32 [LIMIT]: each character's place among the replacements; 0: it stands for itself."""
    flat: NDArray[np.int32]
    """Code points of all replacements, one after the other; `SAME` for the character itself."""
    starts: NDArray[np.int32]
    """int32 [replacements + 1]."""

    @property
    def lengths(self) -> NDArray[np.int32]:
        """int32 [replacements]."""
        return np.diff(self.starts)

    def place(self, code_points: NDArray[np.integer]) -> NDArray[np.int32]:
        """int32 [n]; beyond `LIMIT` Han characters are words by themselves."""
        inside = self.places[np.minimum(code_points, LIMIT - 1)]
        return np.where(code_points < LIMIT, inside, np.int32(_ALONE))


@functools.cache
def characters() -> Characters:
    """The table, made once."""
    replacements: dict[tuple[int, ...], int] = {(SAME,): _ITSELF, (SPACE, SAME, SPACE): _ALONE}
    places = np.zeros(LIMIT, np.int32)
    for code_point in range(LIMIT):
        replacement = _replacement(code_point)
        places[code_point] = replacements.setdefault(replacement, len(replacements))
    starts = np.cumsum([0, *map(len, replacements)])
    flat = np.array([part for replacement in replacements for part in replacement], np.int32)
    return Characters(places=places, flat=flat, starts=starts.astype(np.int32))


def fold(text: str) -> str:
    """One text, slowly; `nasflow.data.tokens` folds columns."""
    table, found = characters(), []
    for character in text:
        place = int(table.place(np.array([ord(character)]))[0])
        parts = table.flat[table.starts[place] : table.starts[place + 1]].tolist()
        found += [character if part == SAME else chr(part) for part in parts]
    return "".join(found)


def _replacement(code_point: int) -> tuple[int, ...]:
    if code_point in _HANGUL:
        return (SAME,)
    character = chr(code_point)
    known = unicodedata.ucd_3_2_0.category(character) not in ("Cn", "Cs")
    parts = _decomposed(_decomposed(character).casefold()) if known else character
    found: list[int] = []
    for part in parts:
        found += _spaced(ord(part))
    if found == [code_point]:
        return (SAME,)
    if found == [SPACE, code_point, SPACE]:
        return (SPACE, SAME, SPACE)
    return tuple(found)


def _decomposed(text: str) -> str:
    return unicodedata.ucd_3_2_0.normalize("NFKD", text)


def _spaced(code_point: int) -> tuple[int, ...]:
    category = unicodedata.ucd_3_2_0.category(chr(code_point))
    if category in ("Cc", "Zs", "Zl", "Zp", "Cs"):
        return (SPACE,)
    if category == "Cf" or code_point in _SELECTORS or code_point in _INVISIBLE:
        return ()
    alone = category[0] in "PS" or any(code_point in found for found in (*_NO_SPACES, *_PICTURES))
    return (SPACE, code_point, SPACE) if alone else (code_point,)
