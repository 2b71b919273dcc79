import re

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from nasflow.data.tensors import InputSpec, OutputSpec
from nasflow.spaces.architecture import Architecture, ArchitectureError, Recipe
from nasflow.spaces.cell import DARTS, CellSpace
from nasflow.spaces.drawing import drawing, figure
from nasflow.spaces.graph import Graph

IMAGE = InputSpec(image=(8, 8, 1), image_mean=(100.0,), image_std=(80.0,))
TEN = OutputSpec(classes=10)


def residual() -> Architecture:
    graph = Graph()
    conv = {"filters": 4, "kernel": 3, "stride": 1, "bias": False}
    x = graph.add("conv", graph.add("input", tensor="image"), **conv)
    y = graph.add("batch_norm", graph.add("conv", x, **conv))
    x = graph.add("activation", graph.add("add", x, y), function="relu")
    return graph.finish(graph.add("global_avg_pool", x), Recipe())


def texts(architecture: Architecture, **shapes: object) -> list[str]:
    (axes,) = figure(architecture, **shapes).axes  # type: ignore[arg-type]
    return [text.get_text() for text in axes.texts]


def test_a_box_has_its_operation_what_follows_and_what_it_costs() -> None:
    found = texts(residual(), inputs=IMAGE, output=TEN)
    assert found == [
        "input  image", "→ 8 × 8 × 1",
        "conv  3 × 3, filters 4", "→ 8 × 8 × 4  ·  36 parameters",
        "conv  3 × 3, filters 4", "batch norm", "→ 8 × 8 × 4  ·  152 parameters",  # 3·3·4·4 and 2·4
        "add", "relu", "→ 8 × 8 × 4",
        "global avg pool", "→ 4",
        "output", "→ 10  ·  50 parameters",
    ]  # fmt: skip
    assert "→ 8 × 8 × 4" not in texts(residual())


@pytest.mark.parametrize("stages", [1, 2])
def test_edges_run_beside_boxes_and_not_behind_them(stages: int) -> None:
    space = CellSpace(inputs=IMAGE, output=TEN, topology="pairs", operations=DARTS, cells=1, stages=stages, width=8)
    for architecture in (residual(), space.architecture(space.presets()[0])):
        (axes,) = figure(architecture).axes
        boxes = [patch.get_bbox() for patch in axes.patches if isinstance(patch, FancyBboxPatch)]
        ways = [patch._path_original for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
        assert len(ways) == sum(len(node.inputs) for node in architecture.nodes) - _inside(architecture, len(boxes))
        points = np.concatenate([way.to_polygons(closed_only=False)[0] for way in ways])
        for box in boxes:
            x, y = points[:, 0], points[:, 1]
            inside = (x > box.x0 + 1e-3) & (x < box.x1 - 1e-3) & (y > box.y0 + 1e-3) & (y < box.y1 - 1e-3)
            assert not inside.any()


def _inside(architecture: Architecture, boxes: int) -> int:
    """Nodes that stand in another one's box have their edge in there."""
    return len(architecture.nodes) - boxes


def test_a_large_cell_is_drawn_as_svg() -> None:
    space = CellSpace(inputs=IMAGE, output=TEN, topology="pairs", operations=DARTS, cells=1, stages=2, width=8)
    markup = str(drawing(space.architecture(space.presets()[0]), "A <cell>", inputs=IMAGE, output=TEN))
    assert markup.count("<svg") == 1
    assert "A &lt;cell&gt;" in markup
    assert not re.search(r"https?://(?!www\.w3\.org|purl\.org|creativecommons\.org|matplotlib\.org)", markup)


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ArchitectureError, match="no such tensor"):
        figure(residual(), inputs=InputSpec(numeric=3), output=TEN)


def test_no_line_is_wider_than_its_box() -> None:
    """Those of embeddings and n-grams ran into the boxes beside them."""
    graph = Graph()
    ids, settings = graph.add("input", tensor="text_0"), {"most": 2, "features": 32768, "strength": 10}
    words = [graph.add("ngram_linear", ids, tensor="text_0", **settings) for _ in range(2)]
    drawn = figure(graph.finish(graph.sum(words), Recipe(), end="logits"))
    FigureCanvasAgg(drawn).draw()
    (axes,) = drawn.axes
    box = min(patch.get_window_extent().width for patch in axes.patches if isinstance(patch, FancyBboxPatch))
    widest = max(text.get_window_extent().width for text in axes.texts)
    assert 0.8 * box < widest < box
