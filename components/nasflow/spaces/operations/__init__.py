"""The operations of an architecture: output shape, trainable parameters and multiply-adds of each, in pure Python.

    op                settings                      input → output (without the batch dimension)
    input             tensor                        → image (h, w, c), numeric or plain (f,), ids (k,), text_0 (length,)
    conv              filters kernel stride bias    (h, w, c) → (⌈h/stride⌉, ⌈w/stride⌉, filters)
                      [padding dilation]            padding valid: (⌊(h − reach)/stride⌋ + 1, …, filters)
    separable_conv    as conv                       as conv; a depthwise convolution, then a 1×1 one
    depthwise_conv    as conv, without filters      as conv; each channel by itself
    max_pool avg_pool size [stride padding]         (h, w, c) → (⌈h/stride⌉, ⌈w/stride⌉, c); stride: size, if not set
    global_avg_pool global_max_pool                 (h, w, c) → (c,)
    squeeze_excite    ratio                         unchanged; channels weighted by what all pixels say, Hu et al. 2018
    flatten                                         any → (product,)
    batch_norm layer_norm                           unchanged; over the last axis
    group_norm        groups                        unchanged; groups of the last axis
    activation        function                      unchanged; one of `ACTIVATIONS`
    dropout           rate                          unchanged
    identity                                        unchanged
    zero                                            unchanged shape, all 0
    add multiply                                    all inputs of one shape → that shape
    concat                                          joins the last axis
    dense             units bias                    (d,) → (units,)
    member_dense      members units                 (d,) or (members, d) → (members, units): independent networks in one
    tabm_dense        members units                 the same with one kernel for all: each member scales what goes in
                                                    and what comes out (Gorishniy et al. 2025, "TabM")
    cross             rank                          (d,), (d,) → (d,): x₀ ⊙ (U V x + b) + x, Wang et al. 2021, "DCN V2"
    embedding         tensor dim                    categorical or discrete (k,) → (k · dim,)
    periodic          frequencies sigma dim         numeric (f,) → (f · dim,); Gorishniy et al. 2022, "PLR"
    piecewise         bins dim                      numeric (f,) → (f · dim,); the same paper, learned bins
    quantile          bins dim                      the same, at most so many bins between the data's quantiles, fixed
    output                                          (d,) or (members, d) → (classes,) or (1,)
    logits                                          (classes,) or (1,) → the same: an output that is computed already
    hypermodel        hypermodel arguments values   tensors → (classes,) or (1,): a user's whole model, and what was
                      code parameters multiply_adds counted when it was built

Those of text, and of networks that join several kinds of input, are listed in `nasflow.spaces.operations.text`.

`nasflow.models.build` makes the Keras layers; a test holds the numbers here equal to Keras's own. A new kind of
operations is a module here and one in `nasflow.models.layers`, each with a table that is joined below and there.
"""

from collections.abc import Sequence
from types import MappingProxyType

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces.architecture import ArchitectureError, Node, Shape
from nasflow.spaces.operations import image, plain, series, table, text
from nasflow.spaces.operations._base import Context, Measure, Table
from nasflow.spaces.operations.plain import ACTIVATIONS
from nasflow.spaces.operations.table import ids_of

__all__ = ["ACTIVATIONS", "OPERATIONS", "Measure", "ids_of", "measure"]

OPERATIONS: Table = MappingProxyType(
    {**plain.OPERATIONS, **image.OPERATIONS, **table.OPERATIONS, **text.OPERATIONS, **series.OPERATIONS}
)


def measure(node: Node, shapes: Sequence[Shape], inputs: InputSpec, output: OutputSpec) -> Measure:
    """Measures one node, given its inputs' shapes.

    Raises:
        ArchitectureError: an unknown operation, missing settings, or shapes that it cannot take.
    """
    operation = OPERATIONS.get(node.op)
    if operation is None:
        raise ArchitectureError(f"{node.name}: unknown operation {node.op!r}; use one of {', '.join(OPERATIONS)}")
    try:
        return operation.measure(Context(node.settings, tuple(shapes), inputs, output))
    except (KeyError, ValueError) as error:
        why = f"the setting {error} is missing" if isinstance(error, KeyError) else str(error)
        raise ArchitectureError(
            f"{node.name}: {node.op} with {dict(node.settings)!r} cannot take {list(shapes)!r}: {why}"
        ) from error
