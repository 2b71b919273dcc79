"""Whether a column of strings holds texts to be read word by word, or names of categories."""

import pyarrow as pa
import pyarrow.compute as pc

_WORDS = 4
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]{6}"
"""As good as four words, in scripts that put no spaces between them."""
_LONG, _DIFFERENT = 0.5, 0.5
_ENOUGH = 20
_SHORT, _NEW_WORDS = 3, 0.5
_UNSURE = 0.6


def prose(present: pa.Array) -> tuple[float, str] | None:
    """(confidence, reason) where Arrow strings without null look like texts, else None.

    At least half of them have four words or more, and at least half are different: categories repeat.

    >>> prose(pa.array([f"the film number {n} is good" for n in range(40)]))
    (0.99, 'texts: 100% have 4 words or more, 100% are different')
    >>> prose(pa.array(["never been married at all", "married"] * 20))
    """
    if len(present) < _ENOUGH:
        return None
    words = pc.greater_equal(pc.count_substring_regex(present, r"\S+"), _WORDS)
    long = pc.mean(pc.or_(words, pc.match_substring_regex(present, _UNSPACED))).as_py()
    different = pc.count_distinct(present).as_py() / len(present)
    if long < _LONG or different < _DIFFERENT:
        return None
    reason = f"texts: {long:.0%} have {_WORDS} words or more, {different:.0%} are different"
    return round(min(0.99, max(0.5, long * different)), 4), reason


def phrases(different: pa.Array) -> tuple[float, str] | None:
    """(confidence, reason) where Arrow strings that are all different look like short sentences, else None: at least
    half of them have three words or more, and the words recur. Names of rows have words of their own.

    >>> phrases(pa.array([f"good film {word}" for word in "abcdefgh"]))
    (0.6, 'short texts: 100% have 3 words or more, and the words recur')
    >>> phrases(pa.array([f"order {n} r{n}" for n in range(8)]))
    """
    counts = pc.count_substring_regex(different, r"\S+")
    long = pc.mean(pc.greater_equal(counts, _SHORT)).as_py() or 0.0
    words = pc.list_flatten(pc.utf8_split_whitespace(pc.utf8_trim_whitespace(different)))
    if long < _LONG or pc.count_distinct(words).as_py() > _NEW_WORDS * len(words):
        return None
    return _UNSURE, f"short texts: {long:.0%} have {_SHORT} words or more, and the words recur"
