"""Images: decoded, converted, resized. Normalising (by `mean` and `std`) is the model's own first layer."""

import numpy as np
from numpy.typing import NDArray

from nasflow.core.errors import DataError
from nasflow.data.image import decode_resized, resize
from nasflow.data.transforms._base import ColumnTransform, Part, RawColumn


class ImageTransform(ColumnTransform):
    """Decode (where encoded), convert to `channels`, resize (bilinear, antialiased, rounded to uint8)."""

    height: int
    width: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def parts(self) -> tuple[Part, ...]:
        return (Part(slot="image", name="image"),)

    def apply(self, values: RawColumn) -> list[NDArray[np.generic]]:
        """uint8 [n, height, width, channels].

        Raises:
            DataError: see `image`.
        """
        return [image(self, values)]


def image(transform: ImageTransform, values: RawColumn) -> NDArray[np.uint8]:
    """uint8 [n, height, width, channels] from arrays of any size, or from encoded files.

    Raises:
        DataError: an encoded image cannot be decoded; names the row.
    """
    size = {"height": transform.height, "width": transform.width}
    if values.dtype == np.uint8:
        return resize(values, **size)
    images = np.empty((len(values), transform.height, transform.width, transform.channels), np.uint8)
    for row, data in enumerate(values):
        try:
            images[row] = decode_resized(data, channels=transform.channels, **size)
        except DataError as error:
            raise DataError(f"row {row + 1}: column {transform.name!r}: {error}") from error
    return images
