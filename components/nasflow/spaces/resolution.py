"""How far images can be reduced, and the stem that begins to."""

from nasflow.spaces.graph import Graph

_MOST_STAGES = 4


def stem_strides(side: int) -> tuple[int, ...]:
    """By how much the stem may reduce, the default first: a net at full resolution on large images costs too much."""
    if side > 128:
        return (4, 2)
    if side > 48:
        return (2, 1, 4)
    return (1, 2) if side >= 16 else (1,)


def most_stages(side: int) -> int:
    """At most so many that the last stage sees 2 pixels; at least one, at most four."""
    count = 1
    while count < _MOST_STAGES and side >= 4:
        side = -(-side // 2)
        count += 1
    return count


def stem(graph: Graph, width: int, *, stride: int) -> str:
    """Image, 3×3 convolution, batch norm; 5×5 with stride 2 where it reduces, then pooling by 2 where it does by 4."""
    x = graph.add("input", tensor="image")
    reduce = min(stride, 2)
    x = graph.add("conv", x, filters=width, kernel=3 if reduce == 1 else 5, stride=reduce, bias=False)
    x = graph.add("batch_norm", x)
    return graph.add("max_pool", x, size=2) if stride == 4 else x
