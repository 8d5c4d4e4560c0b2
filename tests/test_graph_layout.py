"""The drawing of a graph: boxes below what they depend on, apart, and in little time."""

import sys

from hypothesis import given
from hypothesis import strategies as st

from geonet.graph.layout import drawing


@given(st.integers(1, 12), st.data())
def test_boxes_stand_below_what_they_depend_on_and_apart(count, draw):
    pairs = [(i, j) for j in range(count) for i in range(j)]
    edges = draw.draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    lines = [("x" * (i % 5 + 1),) * (i % 3 + 1) for i in range(count)]
    found = drawing([(words, "operation", i) for i, words in enumerate(lines)], edges)
    assert [box.key for box in found.boxes] == list(range(count))
    assert len(found.routes) == len(edges)
    for i, j in edges:
        above, below = found.boxes[i], found.boxes[j]
        assert above.y + above.height / 2 < below.y - below.height / 2
    for i, a in enumerate(found.boxes):
        assert a.width / 2 <= a.x + 1e-9
        assert a.x + a.width / 2 <= found.width + 1e-9
        assert a.height / 2 <= a.y <= found.height
        for b in found.boxes[:i]:
            apart = abs(a.x - b.x) >= (a.width + b.width) / 2
            assert apart or abs(a.y - b.y) >= (a.height + b.height) / 2
    for (i, j), route in zip(edges, found.routes):
        assert route[0][0] == found.boxes[i].x
        assert route[-1][0] == found.boxes[j].x


def test_an_edge_back_to_an_earlier_group_is_drawn_too():
    boxes = [((name,), "group", name) for name in "ab"]
    found = drawing(boxes, [(0, 1), (1, 0)])
    assert len(found.routes) == 2


def lines_run(function):
    """How many lines of Python run in a call."""
    count, before = 0, sys.gettrace()

    def look(frame, event, argument):
        nonlocal count
        count += event == "line"
        return look

    sys.settrace(look)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def chain(count):
    """Boxes in a chain, all of which take what the first holds as well; and its edges."""
    edges = {(i, i + 1) for i in range(count)} | {(0, i + 1) for i in range(count)}
    return [((str(i),), "operation", i) for i in range(count + 1)], sorted(edges)


def test_the_work_on_a_drawing_grows_hardly_faster_than_the_graph():
    small, large = (lines_run(lambda: drawing(*chain(count))) for count in (20, 160))
    assert large < 1.25 * 8 * small


def test_edges_from_one_box_pass_layers_together():
    boxes, edges = chain(60)
    found = drawing(boxes, edges)
    assert [box.y for box in found.boxes] == sorted({box.y for box in found.boxes})  # a layer each
    passed = {place for route in found.routes for place in route[1:-1]}
    assert len(passed) <= 60
