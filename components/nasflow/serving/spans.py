"""Texts of a request as places in its bytes: none becomes a Python object until somebody asks for it.

A text as an object costs 100 ns by the time that it has been made, put into an array, taken out and looked up. Of a
request of many rows a network wants to know only which words of a vocabulary they are (`nasflow.serving.vocabularies`).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_WIDTH = 64
_PADDING = b" " * MAX_WIDTH
_QUOTE, _BRACE = b'"{'


class Spans:
    """Texts of several columns, all with the same number of rows and without NULs.

    Attributes:
        starts: int64 [columns, rows], places in the bytes.
        lengths: int64 [columns, rows], in bytes of UTF-8.
    """

    __slots__ = ("_data", "lengths", "starts")

    def __init__(self, data: bytes, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        """`data`: valid UTF-8, and at least `MAX_WIDTH` bytes more than the texts."""
        self._data = data
        self.starts = starts
        self.lengths = lengths

    def only(self, columns: Sequence[int]) -> "Spans":
        """Some of the columns, in this order."""
        chosen = list(columns)
        return (
            self
            if chosen == list(range(len(self.starts)))
            else Spans(self._data, self.starts[chosen], self.lengths[chosen])
        )

    def texts(self, column: int) -> NDArray[np.object_]:
        """One column's as object[str] [rows]."""
        data, starts = self._data, self.starts[column]
        found = np.empty(len(starts), object)
        ends = (starts + self.lengths[column]).tolist()
        found[:] = [data[start:end].decode() for start, end in zip(starts.tolist(), ends, strict=True)]
        return found

    def keys(self, width: int) -> NDArray[np.uint64]:
        """Whole numbers [columns, rows, width / 8]: a text's first bytes and zeros behind it. Those of different texts
        differ, unless both have `width` bytes or more.
        """
        windows: NDArray[np.void] = np.ndarray(
            (len(self._data) - width + 1,), f"V{width}", self._data, strides=(1,)
        )  # all that begin anywhere
        shape = (*self.starts.shape, width // 8)
        keys: NDArray[np.uint64] = windows[self.starts].view(np.uint64).reshape(shape)
        keys &= _MASKS[width].take(self.lengths, mode="clip").view(np.uint64).reshape(shape)
        return keys


def key_of(text: str, width: int) -> NDArray[np.uint64]:
    """As `Spans.keys`, of one text: [width / 8].

    >>> int(key_of("a", 8)[0]) == ord("a")
    True
    """
    data = text.encode()
    place = np.zeros((1, 1), np.int64)
    key: NDArray[np.uint64] = Spans(data + _PADDING, place, place + len(data)).keys(width)[0, 0]
    return key


def brackets(body: bytes) -> NDArray[np.int64]:
    """Where a body has an opening bracket: JSON's arrays begin there, and a text may have one, too."""
    return np.flatnonzero(np.frombuffer(body, np.uint8) == ord("["))


def quoted(body: bytes, arrays: NDArray[np.int64], rows: int, columns: int) -> Spans | None:
    """The texts of all arrays of texts in a body of JSON.

    Args:
        body: valid JSON.
        arrays: where its arrays begin, all of them.
        rows: how many elements the arrays of texts have, one or more.
        columns: how many arrays of texts there must be.

    Returns:
        In the body's order; None where one of the arrays has something else than texts, a text needs escapes, or more
        than a blank is between two.
    """
    if b"\\" in body:
        return None  # from here on quotes stand where a text begins or ends, and nowhere else
    data = body + _PADDING
    codes = np.frombuffer(data, np.uint8)
    first = arrays[codes[arrays + 1] == _QUOTE] + 1
    if len(first) != columns:
        return None
    begin = int(first[0])
    quotes = np.flatnonzero(codes[begin:] == _QUOTE)
    places = quotes.searchsorted(first - begin)[:, np.newaxis] + np.arange(0, 2 * rows, 2)
    if places[-1, -1] + 1 >= len(quotes):
        return None
    starts, ends = quotes.take(places), quotes[1:].take(places)
    # Between two neighbours of an array of texts stand a comma and perhaps a blank. An element that is no text takes
    # more of the way, to the next text (`",1,"`) or out of the array (`",1],"`); but for an object (`",{"`).
    if rows > 1:
        following = starts[:, 1:]
        widest = (following - ends[:, :-1]).max()
        if widest > 3 or (widest == 3 and (codes[begin:].take(following - 1) == _BRACE).any()):
            return None
    ends -= starts
    ends -= 1
    starts += begin + 1
    return Spans(data, starts, ends)


def prefixed(blobs: Sequence[memoryview], rows: int) -> Spans | None:
    """Binary BYTES, a uint32 length before each text.

    Args:
        blobs: the columns', one or more.
        rows: of each, one or more.

    Returns:
        None where there is any doubt: not ASCII, a text of more than 127 bytes or with a NUL, another number of texts.
    """
    data = b"".join([*blobs, _PADDING])
    if not data.isascii():
        return None
    codes = np.frombuffer(data, np.uint8)
    size = len(data) - MAX_WIDTH
    zero = codes[: size + 3] == 0
    # Three zeros follow a length; an empty text's length is a zero, too, and more may stand before and behind it.
    places = np.flatnonzero(zero[1:-2] & zero[2:-1] & zero[3:])
    if len(places) != len(blobs) * rows:
        places = _among_empty(zero)
        if len(places) != len(blobs) * rows:
            return None
    starts = places + 4
    lengths = codes[places].astype(np.int64)
    if np.count_nonzero(zero) != 3 * len(places) + np.count_nonzero(lengths == 0):
        return None  # a NUL in a text
    ends = starts + lengths
    # Whether they are lengths: each text must end where the next one's length stands, and each blob's last with it.
    if places[0] != 0 or ends[-1] != size or (ends[:-1] != places[1:]).any():
        return None
    begins = np.cumsum([len(blob) for blob in blobs[:-1]], dtype=np.int64)
    if (places[rows::rows] != begins).any():
        return None
    return Spans(data, starts.reshape(len(blobs), rows), lengths.reshape(len(blobs), rows))


def _among_empty(zero: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Where lengths can stand if no text has a NUL: one before each run of three zeros, and each four zeros of a longer
    run are the length of an empty text.
    """
    edges = np.flatnonzero(np.diff(zero, prepend=False, append=False))
    begins, counts = edges[::2], edges[1::2] - edges[::2]
    empty = counts % 4 == 0
    many = counts[empty] // 4
    within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
    empties = np.repeat(begins[empty], many) + 4 * within
    return np.sort(np.concatenate((begins[counts == 3] - 1, empties)))


def _masks(width: int) -> NDArray[np.void]:
    """By a text's length, the bytes of its key that are the text's; the last for all that are longer."""
    masks = np.tri(width + 1, width, -1, np.uint8) * np.uint8(0xFF)
    return masks.view(f"V{width}")[:, 0]


_MASKS = {width: _masks(width) for width in range(8, MAX_WIDTH + 1, 8)}
