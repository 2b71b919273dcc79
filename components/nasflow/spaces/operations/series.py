"""Operations on series (time, channels).

op               settings                       input → output (without the batch dimension)
series           tensor start length channels   (w,) → (length, channels): columns of a table, channel after channel
conv1d           filters kernel stride bias     (t, c) → (⌈t/stride⌉, filters); padding causal: a place sees what
                 [padding dilation]             came before it only (van den Oord et al. 2016)
separable_conv1d as conv1d                      the same, a depthwise convolution, then a 1×1 one; not causal
max_pool1d avg_pool1d  size                     (t, c) → (⌈t/size⌉, c)
gru              units both sequences           (t, c) → (t, n) or, without sequences, (n,): n is units, or twice
                                                that where both directions are read
series_mean series_max                          (t, c) → (c,)
series_last                                     (t, c) → (c,): the last place
"""

from types import MappingProxyType

from nasflow.spaces.operations._base import Context, Measure, Operation, Table, windows

_PADDINGS = ("same", "causal", "valid")


def _series(c: Context) -> Measure:
    (width,) = c.one(1)
    start, length, channels = c.settings["start"], c.whole("length"), c.whole("channels")
    if type(start) is not int or start < 0 or start + length * channels > width:
        raise ValueError(f"{channels} channels of {length} from column {start} on are more than {width} columns")
    return Measure((length, channels))


def _conv(c: Context) -> Measure:
    time, channels = c.one(2)
    filters, kernel = c.whole("filters"), c.whole("kernel")
    out = _extent(c, time, kernel)
    weights = kernel * channels * filters
    return Measure((out, filters), weights + filters * bool(c.settings["bias"]), out * weights)


def _separable(c: Context) -> Measure:
    time, channels = c.one(2)
    filters, kernel = c.whole("filters"), c.whole("kernel")
    if c.settings.get("padding") == "causal":
        raise ValueError("a separable convolution cannot be causal")
    out = _extent(c, time, kernel)
    weights = kernel * channels + channels * filters
    return Measure((out, filters), weights + filters * bool(c.settings["bias"]), out * weights)


def _extent(c: Context, time: int, kernel: int) -> int:
    stride, dilation = c.whole("stride"), c.whole("dilation", 1)
    if stride > 1 and dilation > 1:
        raise ValueError("stride and dilation cannot both be above 1")
    padding = c.one_of("padding", _PADDINGS, "same")
    return windows(time, size=kernel, stride=stride, padding=padding, dilation=dilation)


def _pool(c: Context) -> Measure:
    time, channels = c.one(2)
    return Measure((-(-time // c.whole("size")), channels))


def _gru(c: Context) -> Measure:
    """Three gates, each with a kernel, a recurrent kernel and two biases."""
    time, channels = c.one(2)
    units, ways = c.whole("units"), 2 if c.settings["both"] else 1
    products = ways * 3 * units * (channels + units)
    out = (time, ways * units) if c.settings["sequences"] else (ways * units,)
    return Measure(out, products + ways * 3 * 2 * units, time * products)


def _pooled(c: Context) -> Measure:
    return Measure((c.one(2)[1],))


OPERATIONS: Table = MappingProxyType(
    {
        "series": Operation(_series),
        "conv1d": Operation(_conv, weighted=True),
        "separable_conv1d": Operation(_separable, weighted=True),
        "max_pool1d": Operation(_pool),
        "avg_pool1d": Operation(_pool),
        "gru": Operation(_gru, weighted=True),
        "series_mean": Operation(_pooled),
        "series_max": Operation(_pooled),
        "series_last": Operation(_pooled),
    }
)
