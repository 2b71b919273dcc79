"""Pixels: decoding, conversion to the model's channels, resizing. Pillow is imported where it is used.

Resizing is bilinear with antialiasing (Pillow's ``BILINEAR``, whose support grows with the reduction) and ends in
uint8. An image that already has the target size keeps its bytes. EXIF orientation is ignored, as the served graph's
decoder ignores it.
"""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasflow.core.errors import DataError

GRAYSCALE_MODES = frozenset({"1", "L", "LA", "I", "I;16", "I;16B", "F"})


def decode(data: bytes, *, channels: int) -> NDArray[np.uint8]:
    """An encoded image (PNG, JPEG, BMP, GIF, WebP, TIFF) as uint8 [height, width, channels].

    Raises:
        DataError: not an image, truncated, or too large to be meant.
    """
    return _pixels(_open(data, channels=channels))


def decode_resized(data: bytes, *, height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """As `decode`, then resized to uint8 [height, width, channels].

    Raises:
        DataError: see `decode`.
    """
    return _pixels(_resized(_open(data, channels=channels), height=height, width=width))


def resize(images: NDArray[np.uint8], *, height: int, width: int) -> NDArray[np.uint8]:
    """uint8 [n, h, w, c] to uint8 [n, height, width, c]; the same array where the size is right already."""
    from PIL import Image

    rows, old_height, old_width, channels = images.shape
    if (old_height, old_width) == (height, width):
        return images
    resized = np.empty((rows, height, width, channels), np.uint8)
    for row, image in enumerate(images):
        picture = Image.fromarray(image[:, :, 0] if channels == 1 else image)
        resized[row] = _pixels(_resized(picture, height=height, width=width))
    return resized


def is_grayscale(data: bytes) -> bool:
    """Whether an encoded image has one channel; reads only its header.

    Raises:
        DataError: not an image.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.mode in GRAYSCALE_MODES
    except _damage() as error:
        raise DataError(f"not a readable image: {_said(error)}") from error


def _open(data: bytes, *, channels: int) -> Any:
    from PIL import Image

    mode = "L" if channels == 1 else "RGB"
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            if image.mode.startswith("I;16"):  # Pillow would clip 16 bits at 255 instead of scaling them
                return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert(mode)
            return image.convert(mode)
    except _damage() as error:
        raise DataError(f"not a readable image: {_said(error)}") from error


def _resized(image: Any, *, height: int, width: int) -> Any:
    from PIL import Image

    return image if image.size == (width, height) else image.resize((width, height), Image.Resampling.BILINEAR)


def _pixels(image: Any) -> NDArray[np.uint8]:
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels


def _said(error: Exception) -> str:
    """Pillow's words, without the address of the buffer that it calls the file."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "of no known image type, or damaged at its beginning"
    return str(error)


def _damage() -> tuple[type[Exception], ...]:
    """What Pillow raises for damaged files: OSError covers unidentified and truncated ones."""
    import struct

    from PIL import Image

    return (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
