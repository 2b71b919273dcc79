"""The report's figures as inline SVG, written here: matplotlib would take a second of CPU to import and draw them."""

import base64
import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from nasflow.core.artifacts import SPLITS
from nasflow.preprocess.summary import Summary

_COLOURS = ("#2a6f97", "#e09f3e", "#9e2a2b")
_MAX_CLASSES = 30
_MAX_EXAMPLES = 24
_WIDTH = 640
_ROW, _BAR = 30, 8
"""Height of a class, and of one of its bars."""
_TOP, _BELOW, _RIGHT = 26, 36, 60
_NAME_LENGTH, _LETTER = 40, 6.2
"""Letters of a class's name that are shown, and about how wide one is."""
_ACROSS, _TILE, _TITLE = 8, 72, 18
"""Example images beside each other, the side of one, and the height of its label."""
_INK, _SOFT, _SMALL = "fill:#1c2430", "fill:#5c6675", "fill:#5c6675;font-size:9px"
_RECT = Markup('<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{}" fill="{}"/>')
_TEXT = Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}" style="{}">{}</text>')
_SVG = Markup(
    '<svg xmlns="http://www.w3.org/2000/svg" width="{0}" viewBox="0 0 {0} {1}" font-family="sans-serif" '
    'font-size="11">{2}</svg>'
)


def class_balance(classes: Sequence[str], summary: Summary) -> Markup:
    """Grouped bars: share of each class in each split, and its training rows; the most frequent classes where there
    are many."""
    train = summary.classes["train"]
    shown = list(classes)
    if len(classes) > _MAX_CLASSES:
        shown = sorted(classes, key=lambda name: -train.get(name, 0))[:_MAX_CLASSES]
    shares = {split: _shares(shown, summary.classes[split]) for split in SPLITS}
    left = 10 + _LETTER * max(len(name[:_NAME_LENGTH]) for name in shown)
    step = _step(max(max(column) for column in shares.values()))
    whole = step * max(1, math.ceil(max(max(column) for column in shares.values()) / step))
    unit = (_WIDTH - left - _RIGHT) / whole
    bottom = _TOP + _ROW * len(shown)
    parts = [_legend(left)]
    for tick in range(round(whole / step) + 1):
        x = left + unit * step * tick
        parts.append(Markup('<path d="M{0:.1f} {1}V{2}" stroke="#dfe4ea"/>').format(x, _TOP, bottom))
        parts.append(_text(x, bottom + 14, f"{step * tick:g}", "middle", _SOFT))
    parts.append(_text((left + _WIDTH - _RIGHT) / 2, bottom + 30, "% of the split's rows", "middle", _SOFT))
    for place, name in enumerate(shown):
        top = _TOP + _ROW * place + (_ROW - 3 * _BAR) / 2
        parts.append(_text(left - 6, top + 1.5 * _BAR + 4, name[:_NAME_LENGTH], "end"))
        for number, split in enumerate(SPLITS):
            parts.append(_bar(left, top + _BAR * number, unit * shares[split][place], _COLOURS[number]))
        beside = left + unit * max(column[place] for column in shares.values()) + 4
        parts.append(_text(beside, top + _BAR - 1, f"{train.get(name, 0):,}", "start", _SMALL))
    return _SVG.format(_WIDTH, bottom + _BELOW, Markup("").join(parts))


def examples(summary: Summary) -> Markup:
    """A grid of training images with their labels."""
    shown = summary.pictures[:_MAX_EXAMPLES]
    parts = []
    for place, (label, pixels) in enumerate(shown):
        left, top = (_TILE + 8) * (place % _ACROSS), (_TILE + _TITLE) * (place // _ACROSS)
        parts.append(_text(left + _TILE / 2, top + 12, label[:12], "middle"))
        parts.append(
            Markup(
                '<image x="{0}" y="{1}" width="{2}" height="{2}" style="image-rendering:pixelated" '
                'href="data:image/png;base64,{3}"/>'
            ).format(left, top + _TITLE - 2, _TILE, _png(pixels))
        )
    down = -(-len(shown) // _ACROSS)
    return _SVG.format((_TILE + 8) * _ACROSS, (_TILE + _TITLE) * down, Markup("").join(parts))


def _shares(classes: Sequence[str], counts: Mapping[str, int]) -> list[float]:
    """Percent of all rows."""
    total = max(1, sum(counts.values()))
    return [100 * counts.get(name, 0) / total for name in classes]


def _step(top: float) -> float:
    """Between ticks, of which there are at most six.

    >>> [_step(top) for top in (0.0, 3.2, 11.0, 52.0, 100.0)]
    [1.0, 1.0, 2.0, 10.0, 20.0]
    """
    if top <= 0:
        return 1.0
    scale = 10.0 ** math.floor(math.log10(top / 6))
    return next(factor * scale for factor in (1, 2, 5, 10) if top / (factor * scale) <= 6)


def _legend(left: float) -> Markup:
    parts = []
    for colour, split in zip(_COLOURS, SPLITS, strict=True):
        parts.append(Markup('<rect x="{:.1f}" y="4" width="11" height="11" fill="{}"/>').format(left, colour))
        parts.append(_text(left + 16, 13, split, "start"))
        left += 34 + _LETTER * len(split)
    return Markup("").join(parts)


def _bar(x: float, y: float, width: float, colour: str) -> Markup:
    return _RECT.format(x, y, width, _BAR - 0.5, colour)


def _text(x: float, y: float, text: str, anchor: str, style: str = _INK) -> Markup:
    return _TEXT.format(x, y, anchor, style, text)


def _png(pixels: Sequence[Sequence[Sequence[int]]]) -> str:
    """Base64, of [height, width, 1 or 3]."""
    from PIL import Image

    image = np.array(pixels, np.uint8)
    file = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
