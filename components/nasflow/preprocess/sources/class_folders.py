"""A folder of files, one subfolder a class: which files are rows, what their classes are, how they are read."""

from collections.abc import Iterator, Sequence

import numpy as np

from nasflow.preprocess.sources._base import Piece


def class_of(root: str, file: str) -> str:
    """The first folder below the root; empty for a file that is in the root itself.

    >>> class_of("/pets", "/pets/cat/young/1.png"), class_of("/pets", "/pets/1.png")
    ('cat', '')
    """
    below = file.removeprefix(root.rstrip("/") + "/")
    return below.split("/", 1)[0] if "/" in below else ""


def classed(root: str, files: Sequence[str], suffixes: tuple[str, ...]) -> tuple[str, ...]:
    """The files with one of these endings that are in class folders, sorted."""
    return tuple(sorted(file for file in files if file.lower().endswith(suffixes) and class_of(root, file)))


def sampled(files: Sequence[str], most: int) -> list[str]:
    """At most `most` of the files, evenly spread from the first to the last: not those of one class alone.

    >>> sampled(["a", "b", "c", "d", "e"], 3), sampled(["a", "b"], 3)
    (['a', 'c', 'e'], ['a', 'b'])
    """
    places = np.unique(np.linspace(0, len(files) - 1, min(most, len(files))).astype(int))
    return [files[place] for place in places]


def pieces(files: tuple[str, ...], size: int) -> list[Piece]:
    """Pieces of `size` files each, but for the last."""
    return [Piece(files=part) for part in batches(files, size)]


def batches(files: tuple[str, ...], size: int) -> Iterator[tuple[str, ...]]:
    """`size` files at a time, in order; the last ones may be fewer."""
    for start in range(0, len(files), size):
        yield files[start : start + size]
