"""What requests may take of a server's memory: all bodies together, and one body once its JSON is read.

Bodies of up to 64 MiB (`nasflow.serving.server.Limits`) are no small thing for a pod of 2 GiB: thirty at once fill it,
and one of ``{},{},…`` becomes 30 times its size when it is read (20 MiB: 650 MiB, measured).
"""

from nasflow.serving.errors import TooMuchError

HELD_BYTES = 256 * 2**20
"""Of bodies that have come in several pieces and are not answered yet, all together."""
READ_BYTES = 512 * 2**20
"""That the JSON of one body may become; two are read side by side."""

_LOOKED_AT_BYTES = 4 * 2**20
"""Shorter ones cannot become much: 33 times their size."""
_OBJECT, _LIST, _VALUE = 64, 72, 32
"""Bytes: an empty dict; a list of one; a place in a list or dict and a number of its own."""


class Held:
    """Counts the bytes of bodies, on the event loop only."""

    def __init__(self, most: int = HELD_BYTES) -> None:
        self._most, self._bytes = most, 0

    def take(self, size: int) -> None:
        """Notes that so many more are there; `give_back` them in any case.

        Raises:
            TooMuchError: they are too many, for now.
        """
        self._bytes += size
        if self._bytes > self._most:
            raise TooMuchError(503, "the server holds as many bodies as it can; send the request again in a while")

    def give_back(self, size: int) -> None:
        """Notes that they are gone."""
        self._bytes -= size


def check_read(text: bytes | memoryview) -> None:
    """Looks at JSON before it is read.

    Raises:
        TooMuchError: it would take more than `READ_BYTES`.

    >>> check_read(b"[" + b"1," * 2_000_000 + b"1]")  # 2 million numbers: 64 MB
    """
    if len(text) < _LOOKED_AT_BYTES:
        return
    whole = bytes(text)
    size = _OBJECT * whole.count(b"{") + _LIST * whole.count(b"[") + _VALUE * whole.count(b",")
    if size > READ_BYTES:
        raise TooMuchError(
            413,
            f"the JSON of this request would take about {size >> 20} MiB of memory, the server has {READ_BYTES >> 20} "
            "for it; send the rows in parts, or as binary tensors",
        )
