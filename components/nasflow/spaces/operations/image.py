"""Operations on images (height, width, channels)."""

from types import MappingProxyType

from nasflow.spaces.operations._base import Context, Measure, Operation, Table, numbers, windows

PADDINGS = ("same", "valid")


def _conv(c: Context) -> Measure:
    out, kernel, channels, filters = *_extent(c, "kernel"), c.one(3)[2], c.whole("filters")
    weights = kernel * kernel * channels * filters
    return Measure((*out, filters), weights + filters * bool(c.settings["bias"]), numbers(out) * weights)


def _separable_conv(c: Context) -> Measure:
    out, kernel, channels, filters = *_extent(c, "kernel"), c.one(3)[2], c.whole("filters")
    weights = kernel * kernel * channels + channels * filters
    return Measure((*out, filters), weights + filters * bool(c.settings["bias"]), numbers(out) * weights)


def _depthwise_conv(c: Context) -> Measure:
    out, kernel, channels = *_extent(c, "kernel"), c.one(3)[2]
    weights = kernel * kernel * channels
    return Measure((*out, channels), weights + channels * bool(c.settings["bias"]), numbers(out) * weights)


def _pool(c: Context) -> Measure:
    out, _ = _extent(c, "size")
    return Measure((*out, c.one(3)[2]))


def _global_pool(c: Context) -> Measure:
    return Measure((c.one(3)[2],))


def _squeeze_excite(c: Context) -> Measure:
    shape, ratio = c.one(3), c.whole("ratio")
    channels = shape[2]
    squeezed = max(1, channels // ratio)
    return Measure(shape, 2 * channels * squeezed + squeezed + channels, 2 * channels * squeezed)


def _extent(c: Context, name: str) -> tuple[tuple[int, int], int]:
    """(height and width of what comes out, the side of the window); a pooling's stride is its size, if not set."""
    height, width, _ = c.one(3)
    size = c.whole(name)
    stride = c.whole("stride") if name == "kernel" else c.whole("stride", size)
    dilation = c.whole("dilation", 1)
    if dilation > 1 and stride > 1:
        raise ValueError("stride and dilation cannot both be above 1")
    padding = c.one_of("padding", PADDINGS, "same")
    one, other = (
        windows(extent, size=size, stride=stride, padding=padding, dilation=dilation) for extent in (height, width)
    )
    return (one, other), size


OPERATIONS: Table = MappingProxyType(
    {
        "conv": Operation(_conv, weighted=True),
        "separable_conv": Operation(_separable_conv, weighted=True),
        "depthwise_conv": Operation(_depthwise_conv, weighted=True),
        "max_pool": Operation(_pool),
        "avg_pool": Operation(_pool),
        "global_avg_pool": Operation(_global_pool),
        "global_max_pool": Operation(_global_pool),
        "squeeze_excite": Operation(_squeeze_excite),
    }
)
