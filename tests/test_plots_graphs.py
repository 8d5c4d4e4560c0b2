"""The figure of a computation: words inside their boxes, boxes inside the figure."""

import numpy as np
import pytest

from geonet import Tensor, graph, ops, plots
from geonet.models import mlp

CAPTION = "What is shown, in words that fill more than one line of a narrow figure. " * 2


@pytest.fixture(params=[False, True])
def drawing(request):
    """Folded and not."""
    model = mlp([2, 4, 4, 1], "GmP", rng=np.random.default_rng(0))
    with graph.watch():
        loss = ops.mse(model(np.ones((3, 2))), np.ones((3, 1)))
    found = graph.trace(loss)
    return found.drawing(found.nodes if request.param else None)


def test_words_stay_in_their_boxes_and_clear_of_the_caption(drawing):
    figure = plots.computation(drawing, CAPTION)
    figure.draw_without_rendering()
    (panel,), (caption,) = figure.axes, figure.texts
    texts = iter(panel.texts)
    arrows, boxes = panel.patches[: len(drawing.routes)], panel.patches[len(drawing.routes) :]
    assert len(boxes) == len(drawing.boxes)
    under = caption.get_window_extent()
    assert under.x0 >= 0
    assert under.y0 >= 0
    assert under.x1 <= figure.bbox.x1
    for box, patch in zip(drawing.boxes, boxes):
        frame = patch.get_window_extent()
        assert figure.bbox.x0 <= frame.x0 <= frame.x1 <= figure.bbox.x1
        assert under.y1 < frame.y0 <= frame.y1 <= figure.bbox.y1
        for line in box.lines:
            text = next(texts)
            assert text.get_text() == line
            extent = text.get_window_extent()
            assert frame.x0 < extent.x0 <= extent.x1 < frame.x1
            assert frame.y0 < extent.y0 <= extent.y1 < frame.y1
    assert all(arrow.get_window_extent().height > 1 for arrow in arrows)


def test_the_same_graph_gives_the_same_svg(drawing, tmp_path):
    paths = [
        plots.save(plots.computation(drawing, CAPTION), tmp_path / name, "graph", "t", "d")[1]
        for name in "ab"
    ]
    first, again = (path.read_bytes() for path in paths)
    assert first == again


def test_a_dollar_is_a_letter_like_others():
    x = Tensor([1.0], requires_grad=True, name=r"$\frac{$")
    found = graph.trace(x * 2.0)
    figure = plots.computation(found.drawing(found.nodes), r"$\frac{$")
    figure.draw_without_rendering()
    assert figure.axes[0].texts[0].get_text() == r"1 $\frac{$"
