"""Operations on the columns of a table: encodings, packed networks."""

from types import MappingProxyType

from nasflow.data.tensors import InputSpec
from nasflow.spaces.bins import widest
from nasflow.spaces.operations._base import Context, Measure, Operation, Table


def ids_of(inputs: InputSpec, tensor: str) -> tuple[int, ...]:
    """How many ids each column of a tensor of ids has."""
    return inputs.discrete if tensor == "discrete" else inputs.cardinalities


def _member_dense(c: Context) -> Measure:
    shape, members, units = c.one(1, 2), c.whole("members"), c.whole("units")
    if len(shape) == 2 and shape[0] != members:
        raise ValueError(f"the input has {shape[0]} members")
    return Measure((members, units), members * (shape[-1] + 1) * units, members * shape[-1] * units)


def _tabm_dense(c: Context) -> Measure:
    shape, members, units = c.one(1, 2), c.whole("members"), c.whole("units")
    if len(shape) == 2 and shape[0] != members:
        raise ValueError(f"the input has {shape[0]} members")
    width = shape[-1]
    products = members * width + members * width * units + members * units
    return Measure((members, units), width * units + members * (width + 2 * units), products)


def _cross(c: Context) -> Measure:
    if len(c.shapes) != 2 or c.shapes[0] != c.shapes[1] or len(c.shapes[0]) != 1:
        raise ValueError("two inputs of one width are needed: the first layer, and the one before")
    (width,), rank = c.shapes[0], c.whole("rank")
    return Measure((width,), 2 * width * rank + width, 2 * width * rank)


def _embedding(c: Context) -> Measure:
    (columns,) = c.one(1)
    ids = ids_of(c.inputs, c.settings.get("tensor", "categorical"))
    if columns != len(ids):
        raise ValueError("it takes the tensor of ids itself")
    dim = c.whole("dim")
    return Measure((columns * dim,), sum(ids) * dim)


def _periodic(c: Context) -> Measure:
    (features,) = c.one(1)
    frequencies, dim = c.whole("frequencies"), c.whole("dim")
    if float(c.settings["sigma"]) <= 0:
        raise ValueError("sigma must be > 0")
    products = features * frequencies * (1 + 2 * dim)
    return Measure((features * dim,), products + features * dim, products)


def _piecewise(c: Context) -> Measure:
    (features,) = c.one(1)
    bins, dim = c.whole("bins"), c.whole("dim")
    products = features * bins * (1 + dim)
    return Measure((features * dim,), products + features * (bins + dim), products)


def _quantile(c: Context) -> Measure:
    (features,) = c.one(1)
    bins, dim = widest(c.inputs, c.whole("bins")), c.whole("dim")
    if features != len(c.inputs.edges) or not bins:
        raise ValueError("it takes the numeric tensor itself, whose columns have edges")
    return Measure((features * dim,), features * (bins + 1) * dim, features * bins * (1 + dim))


OPERATIONS: Table = MappingProxyType(
    {
        "member_dense": Operation(_member_dense, weighted=True),
        "tabm_dense": Operation(_tabm_dense, weighted=True),
        "cross": Operation(_cross, weighted=True),
        "embedding": Operation(_embedding, weighted=True),
        "periodic": Operation(_periodic, weighted=True),
        "piecewise": Operation(_piecewise, weighted=True),
        "quantile": Operation(_quantile, weighted=True),
    }
)
