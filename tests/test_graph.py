"""What a recorded graph tells, and that looking changes nothing; anomalies where they arise."""

import functools
import gc
import os
import pickle
import re
import weakref
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geonet import Tensor, graph, nn, no_grad, ops
from geonet.graph import layout
from geonet.graph.layout import drawing
from geonet.models import METHODS, mlp, resnet18
from geonet.tensor import primitive


def data(rows=7):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 2)), rng.normal(size=(rows, 1))


def network(method="GmP"):
    return mlp([2, 4, 3, 1], method, rng=np.random.default_rng(1))


def step(method="GmP", gradients=True):
    """A watched step of a small network, and its graph."""
    model, (x, y) = network(method), data()
    with graph.watch(gradients=gradients):
        loss = ops.mse(model(x), y)
    loss.backward()
    return model, loss, graph.trace(loss)


def a_line_of_the_user(x):
    return ops.exp(x)  # the line that is to be found


# Equations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ops.OPERATIONS)
def test_every_operation_states_both_equations(name):
    operation = ops.OPERATIONS[name]
    forward, pullback = graph.equations(operation)
    assert len(forward) > 5
    assert re.search(r"g → \S", pullback)
    assert "Parameters" not in forward + pullback
    assert re.search(r"\b([xyzptvr]|logits)\b|[θˣʸ²₁]", forward)  # what it computes of its inputs


def test_equations_are_those_of_the_docstring():
    assert graph.equations(ops.multiply) == ("Elementwise product, x y.", "g → g y, g x.")
    forward, pullback = graph.equations(ops.weight_norm)
    assert forward.startswith("Rows ℓ v/‖v‖")
    assert pullback.startswith("With u = v/‖v‖: g → (ℓ/‖v‖)")
    forward, pullback = graph.equations(ops.conv2d)
    assert "weight[o,i,j,c], sum over i, j, c." in forward
    assert pullback.endswith("over n, a, b.")

    @primitive
    def silent(x):
        return x + 1, (lambda g: g,)

    assert graph.equations(silent) == ("", "")


# Statistics ---------------------------------------------------------------------------------------


@given(
    hnp.arrays(np.float64, hnp.array_shapes(min_dims=0, max_side=4), elements=st.floats(width=16))
)
def test_statistics_are_those_of_the_finite_entries(array):
    found = graph.statistics(array)
    finite = array[np.isfinite(array)]
    assert (found.nans, found.infinities) == (np.isnan(array).sum(), np.isinf(array).sum())
    assert found.zeros == np.mean(array == 0)
    if finite.size:
        wanted = finite.min(), finite.max(), finite.mean(), np.sqrt((finite**2).sum())
        np.testing.assert_allclose(found[:4], wanted, rtol=1e-12, atol=1e-12)
    else:
        assert np.isnan(found[:4]).all()


def test_statistics_do_not_overflow_in_float32_and_take_any_dtype():
    assert graph.statistics(np.full(4, 1e30, np.float32)).norm == pytest.approx(2e30)
    assert graph.statistics(np.array([True, False])).max == 1
    assert graph.statistics(np.array([3 + 4j])).norm == 3
    assert graph.statistics(np.array([-1e200])).norm == 1e200
    found = graph.statistics(np.array([1e308, 1e308]))
    assert (found.mean, found.norm) == (1e308, pytest.approx(np.sqrt(2) * 1e308))
    assert graph.statistics(np.array([5e-324])).norm == 5e-324
    assert np.isnan(graph.statistics(np.zeros((0, 2))).zeros)


def test_a_complex_entry_counts_by_either_part():
    found = graph.statistics(np.array([complex(1, np.nan), complex(np.inf, 2), 3 + 4j]))
    assert (found.nans, found.infinities, found.max) == (1, 1, 3)


# Nodes --------------------------------------------------------------------------------------------


def test_every_node_tells_where_it_is_from():
    model, loss, found = step()
    titles = ["theta", "hyperspherical", "linear", "lambda_", "radius", "scaled_relu"]
    assert [n.title for n in found.nodes] == [*titles, *titles, "weight", "bias", "linear", "mse"]
    assert [n.number for n in found.nodes] == list(range(1, 17))
    groups = {group: len(nodes) for group, nodes in found.groups().items()}
    assert groups == {
        "steps.0 (Unit)": 6, "steps.1 (Unit)": 6, "steps.2 (Linear)": 3, "outside of modules": 1,
    }  # fmt: skip
    theta, direction, first, *_, last = found.nodes
    assert (theta.operation, theta.name) == ("parameter", "steps.0.layer.parameterization.theta")
    assert theta.data is model.steps[0].layer.parameterization.theta.data
    assert direction.module == "steps.0.layer.parameterization"
    assert (direction.shape, direction.dtype) == ((4, 2), np.float64)
    assert first.inputs == [
        ("x", None, "constant (7, 2) float64"), ("weight", 2, ""), ("bias", None, "None"),
    ]  # fmt: skip
    assert first.pullback == "lambda, to_weight, lambda"
    assert str(first.source).startswith("geonet/ops/linear.py:")
    assert "loss = ops.mse(model(x), y)" in first.line.text
    assert str(first.line).startswith("tests/test_graph.py:")
    assert str(first.caller).startswith("geonet/nn/layers.py:")
    assert last.caller is None
    assert last.data == loss.data
    assert last.grad == 1


def test_the_line_is_the_users_innermost_one():
    x = Tensor([0.5], requires_grad=True, name="the input")
    with graph.watch():
        y = a_line_of_the_user(x) + 1.0
    start, exponential, total = graph.trace(y).nodes
    assert (start.operation, start.title) == ("input", "the input")
    assert exponential.line.text == "return ops.exp(x)  # the line that is to be found"
    assert total.line.text == "y = a_line_of_the_user(x) + 1.0"
    assert total.inputs == [("x", 2, ""), ("y", None, "1.0")]
    assert exponential.group == "outside of modules"


def test_values_are_no_copies_and_gradients_those_of_retain_grad():
    x = Tensor(np.arange(3.0), requires_grad=True)
    with graph.watch(gradients=True):
        y = ops.exp(x)
        loss = (y * y).sum() + y.sum()
    found = graph.trace(loss)
    node = next(n for n in found.nodes if n.operation == "exp")
    assert node.data is y.data
    assert (node.grad, node.gradient) == (None, None)
    y.retain_grad()
    loss.backward()
    np.testing.assert_array_equal(node.grad, y.grad)
    np.testing.assert_array_equal(node.grad, 2 * y.data + 1)
    assert node.gradient.max == y.grad.max()


@pytest.mark.parametrize("method", METHODS)
def test_looking_on_changes_no_number(method):
    model, loss, _ = step(method)
    plain, (x, y) = network(method), data()
    expected = ops.mse(plain(x), y)
    expected.backward()
    assert loss.data == expected.data
    for (name, p), q in zip(model.named_parameters(), plain.parameters()):
        np.testing.assert_array_equal(p.grad, q.grad, err_msg=name)


def test_gradients_of_two_passes_add_up():
    x = Tensor([2.0], requires_grad=True)
    with graph.watch(gradients=True):
        y = x * x
        z = y * y
    z.backward(retain_graph=True)
    z.backward()
    assert graph.trace(z).nodes[1].grad == 2 * 2 * 4.0 == 16
    assert x.grad == 2 * 32


def test_gradients_are_kept_only_when_asked_for():
    _, _, found = step(gradients=False)
    made = [n for n in found.nodes if n.inputs]
    assert all(n.grad is None and n.data is not None for n in made)
    assert "watch(gradients=True)" in found.table().splitlines()[-1]


def test_without_watch_there_are_operations_and_shapes_until_backward_frees_them():
    x, y = data()
    loss = ops.mse(network()(x), y)
    found = graph.trace(loss)
    assert [n.title for n in found.nodes[-2:]] == ["linear", "mse"]
    assert found.nodes[-2].pullback == "lambda, to_weight, lambda"
    assert {n.line for n in found.nodes} == {None}
    assert "were not kept" in found.table().splitlines()[-1]
    loss.backward()
    with pytest.raises(RuntimeError, match="freed this graph: trace it before, or record it"):
        graph.trace(loss)


def test_what_has_no_past_is_told_of():
    with pytest.raises(ValueError, match="requires_grad=True"):
        graph.trace(Tensor([1.0]))
    (node,) = graph.trace(Tensor([1.0], requires_grad=True, name="w")).nodes
    assert (node.operation, node.title) == ("input", "w")


def test_watching_ends_with_the_block_and_respects_no_grad():
    x = Tensor([1.0], requires_grad=True)
    with graph.watch():
        with no_grad():
            assert not (x * x).requires_grad
        inside = x * x
    with no_grad(), graph.watch():
        assert not (x * x).requires_grad
    with pytest.raises(ZeroDivisionError), graph.watch():
        1 / 0  # noqa: B018
    outside = x * x
    assert graph.trace(inside).nodes[-1].data == 1
    assert graph.trace(outside).nodes[-1].data is None


def test_a_watched_graph_goes_with_its_last_tensor():
    gc.collect()
    gc.disable()
    try:
        _, loss, found = step()
        arrays = [weakref.ref(n.data) for n in found.nodes if n.inputs]
        assert all(array() is not None for array in arrays)
        del loss, found
        assert [array() for array in arrays] == [None] * len(arrays)
    finally:
        gc.enable()


def test_two_models_and_a_shared_layer_are_told_apart():
    x, _ = data()
    one, two = network(), network()
    shared = nn.Linear(2, 2, rng=np.random.default_rng(0))
    with graph.watch():
        loss = (one(x) - two(nn.Sequential(shared, shared)(x))).sum()
    found = graph.trace(loss)
    assert {"steps.0 (Unit)", "model 2: steps.0 (Linear)", "model 3: steps.0 (Unit)"} <= {
        *found.groups()
    }
    assert len(found.nodes) == len({id(n.kept) for n in found.nodes})
    assert len(found.groups()["model 2: steps.0 (Linear)"]) == 4  # weight, bias, used twice


def test_a_module_within_containers_is_a_group_of_its_own():
    inner = nn.Sequential(nn.Linear(2, 2, rng=np.random.default_rng(0)), ops.relu)
    with graph.watch():
        loss = nn.Sequential(inner, lambda x: x * 2.0)(data()[0]).sum()
    groups = graph.trace(loss).groups()
    assert {group: [n.title for n in nodes if n.inputs] for group, nodes in groups.items()} == {
        "steps.0.steps.0 (Linear)": ["linear"], "steps.0 (Sequential)": ["relu"],
        "Sequential": ["multiply"], "outside of modules": ["sum"],
    }  # fmt: skip


def test_blocks_of_a_residual_network_are_groups():
    model = resnet18("SP", width=0.05, stem="small", num_classes=3, rng=np.random.default_rng(0))
    with graph.watch():
        loss = model(np.zeros((1, 8, 8, 3), np.float32)).sum()
    groups = graph.trace(loss).groups()
    assert [g for g in groups if "ResidualBlock" in g] == [
        f"steps.{i} (ResidualBlock)" for i in range(1, 9)
    ]


def test_a_chain_of_many_operations_is_no_problem():
    with graph.watch(gradients=True):
        y = Tensor(1.0, requires_grad=True)
        for _ in range(3000):
            y = -y
    y.backward()
    assert len(graph.trace(y).nodes) == 3001


def test_the_table_has_a_line_for_every_node():
    _, _, found = step()
    head, rule, *lines = found.table().splitlines()
    assert len(lines) == len(found.nodes)
    assert head.split()[:4] == ["module", "#", "operation", "shape"]
    assert set(rule) == {"-", " "}
    assert lines[0].startswith("steps.0 (Unit)")
    assert lines[1].startswith(" ")
    assert f"{found.nodes[-1].value.norm:.3g}" in lines[-1]


def test_only_names_of_modules_are_cut_at_dots():
    for name, title in ((0.1, "0.1"), ("lr=0.1", "lr=0.1"), (7, "7"), ("two\nlines", "two lines")):
        x = Tensor([1.0], requires_grad=True, name=name)
        found = graph.trace(x * 2.0)
        assert found.nodes[0].title == title
        assert len(found.table().splitlines()) == 5


def test_what_is_empty_has_no_numbers(tmp_path):
    x = Tensor(np.zeros((0, 2)), requires_grad=True)
    with graph.watch(gradients=True):
        loss = (x * 2.0).sum()
    loss.backward()
    found = graph.trace(loss)
    assert [n.value is None for n in found.nodes] == [True, True, False]
    found.html(tmp_path / "page.html")
    for text in (found.table(), (tmp_path / "page.html").read_text(encoding="utf-8")):
        assert not re.search(r"\bnan\b", text)


def test_a_table_needs_no_working_folder(tmp_path, monkeypatch):
    _, _, found = step()
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    try:
        os.rmdir(tmp_path / "gone")
    except OSError:
        pytest.skip("this system keeps a folder that is worked in")
    assert "tests/test_graph.py:" in found.table()


def test_what_is_no_tensor_and_no_nodes_are_refused():
    model, _, found = step()
    for thing, kind in ((1.0, "float"), (model, "Sequential")):
        with pytest.raises(
            TypeError, match=rf"result must be a Tensor \(a loss\), but is a {kind}"
        ):
            graph.trace(thing)
    with pytest.raises(ValueError, match="nodes must hold at least one Node"):
        found.drawing([])


# The drawing --------------------------------------------------------------------------------------


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


class Counted(list):
    """A list that counts how often it is gone through."""

    times = 0

    def __iter__(self):
        self.times += 1
        return super().__iter__()


def test_work_on_a_drawing_does_not_grow_faster_than_the_graph():
    count = 60  # operations in a chain, which all take what the first box holds
    edges = Counted(sorted({(i, i + 1) for i in range(count)} | {(0, i + 1) for i in range(count)}))
    level = layout._levels(count + 1, edges)
    assert level == list(range(count + 1))
    assert edges.times <= 2
    rows, chains = layout._rows(level, edges)
    assert sum(map(len, rows)) <= 2 * count  # edges from one box pass layers together
    rows = [Counted(row) for row in rows]
    layout._order(rows, [(i, j) for chain in chains for i, j in pairwise(chain)])
    assert max(row.times for row in rows) <= 3 * layout.SWEEPS


def test_folded_groups_are_a_chain_and_nodes_unfold():
    _, _, found = step()
    folded = found.drawing()
    assert [box.key for box in folded.boxes] == list(found.groups())
    assert len(folded.routes) == 3
    opened = found.drawing(found.groups()["steps.0 (Unit)"])
    assert [box.kind for box in opened.boxes].count("parameter") == 3
    assert len(opened.routes) == 5


# Anomalies ----------------------------------------------------------------------------------------


def test_the_first_nan_going_forward_is_named_with_inputs_and_line():
    x = Tensor([4.0, -1.0, 0.0], requires_grad=True)
    with pytest.raises(graph.Anomaly) as caught, graph.anomalies():
        ops.log(x).sum()  # here
    said = str(caught.value).splitlines()
    assert said[0] == "the result of log: 1 NaN and 1 infinite of 3 entries"
    assert said[1] == "  x: (3,) float64 from -1 to 4"
    assert re.fullmatch(r"called at tests/test_graph.py:\d+: ops.log\(x\).sum\(\)  # here", said[2])
    assert (caught.value.operation, caught.value.backward) == ("log", False)


def test_a_nan_in_the_imaginary_part_is_counted():
    x = Tensor([1j, 1.0], requires_grad=True)
    with pytest.raises(graph.Anomaly) as caught, graph.anomalies():
        x + np.array([complex(0, np.nan), 0])
    assert str(caught.value).startswith("the result of add: 1 NaN of 2 entries\n")


def test_an_anomaly_can_be_pickled():
    with pytest.raises(graph.Anomaly) as caught, graph.anomalies():
        ops.log(Tensor([-1.0], requires_grad=True))
    again = pickle.loads(pickle.dumps(caught.value))  # as processes hand it on
    assert str(again) == str(caught.value)
    assert vars(again) == vars(caught.value)
    assert again.operation == "log"


def test_a_nan_that_arises_only_going_backward_is_named_with_the_forward_line():
    x = Tensor([4.0, 0.0], requires_grad=True)
    with graph.anomalies():
        loss = (ops.sqrt(x) * 3.0).sum()  # all finite
        with pytest.raises(graph.Anomaly) as caught:
            loss.backward()
    said = str(caught.value).splitlines()
    assert said[0] == "the pullback of sqrt to x: 1 infinite of 2 entries"
    assert said[1] == "  x: (2,) float64 from 0 to 4"
    assert said[2] == "  gradient of the result: (2,) float64 from 3 to 3"
    assert "loss = (ops.sqrt(x) * 3.0).sum()  # all finite" in said[3]
    assert caught.value.backward
    assert caught.value.line.startswith("tests/test_graph.py:")


def test_a_gradient_that_is_not_finite_when_it_comes_is_told_of():
    x = Tensor([1.0], requires_grad=True)
    with graph.anomalies():
        y = x * 2.0
        with pytest.raises(graph.Anomaly, match="the gradient that reaches multiply"):
            y.backward([np.inf])


def test_the_module_is_named_and_pullbacks_for_several_inputs_are_seen_through():
    model = network("BN")
    model.steps[1].normalization.gamma.data[2] = np.inf
    place = r"called at .* in steps\.1\.normalization"
    with pytest.raises(graph.Anomaly, match=place) as caught, graph.anomalies():
        model(data()[0])
    assert caught.value.operation == "batch_norm"
    assert "gamma: (3,) float64 from 1 to 1, 1 infinite" in str(caught.value)

    @primitive
    def both(x, y):
        return x + y, lambda g, needs: (g, g * np.nan)

    a, b = (Tensor([1.0], requires_grad=True) for _ in range(2))
    with graph.anomalies(), pytest.raises(graph.Anomaly, match="the pullback of both to y"):
        both(a, b).backward()


@pytest.mark.parametrize("method", METHODS)
def test_a_healthy_step_passes_and_can_be_watched_at_once(method):
    model, (x, y) = network(method), data()
    with graph.anomalies(), graph.watch(gradients=True):
        loss = ops.mse(model(x), y)
        loss.backward()
    found = graph.trace(loss)
    assert found.missing() == ""
    linear = next(n for n in found.nodes if n.operation == "linear")
    assert linear.pullback == "lambda, to_weight, lambda"
    plain = network(method)
    ops.mse(plain(x), y).backward()
    for p, q in zip(model.parameters(), plain.parameters()):
        np.testing.assert_array_equal(p.grad, q.grad)


def test_anomalies_are_found_within_watch_and_around_it():
    x = Tensor([-1.0], requires_grad=True)
    with graph.anomalies(), graph.watch(), pytest.raises(graph.Anomaly):
        ops.log(x)
    with graph.watch(), graph.anomalies(), pytest.raises(graph.Anomaly):
        ops.log(x)


def test_only_pullbacks_that_are_needed_run_under_watch():
    ran = []

    @primitive
    def noted(condition, x, y):
        return x + y, (None, lambda g: ran.append("x") or g, lambda g: ran.append("y") or g)

    x = Tensor([1.0], requires_grad=True)
    with graph.watch(gradients=True):
        loss = noted(np.array([True]), x, 2.0)
    loss.backward()
    assert ran == ["x"]
    assert graph.trace(loss).nodes[-1].pullback == "none, lambda, lambda"


def test_pullbacks_and_operations_of_any_callable_are_seen():
    class Twice:
        def __call__(self, g):
            return 2 * g

    @primitive
    def odd(x, y):
        return 2 * x + y, (Twice(), functools.partial(np.multiply, 1.0))

    x = Tensor([1.0], requires_grad=True)
    with graph.watch():
        y = primitive(functools.partial(lambda a, x: (a * x, (lambda g: a * g,)), 3.0))(odd(x, x))
    first, last = graph.trace(y).nodes[1:]
    assert first.pullback == "Twice, partial"
    assert (last.data, last.source) == (9.0, None)
    graph.trace(y).table()


def test_a_watch_within_a_watch_takes_nothing_from_it():
    x = Tensor([2.0], requires_grad=True)
    for outer in (True, False):
        for inner in (True, False):
            with graph.watch(outer), graph.watch(inner):
                loss = (x * x).sum()
                loss.backward()
            wanted = 1.0 if outer or inner else None
            assert [n.grad for n in graph.trace(loss).nodes[1:]] == [wanted] * 2


def test_a_missing_pullback_is_still_an_error_under_watch():
    @primitive
    def half(x, y):
        return x + y, (lambda g: g,)

    a, b = (Tensor([1.0], requires_grad=True) for _ in range(2))
    with graph.watch(gradients=True), pytest.raises(TypeError, match="no pullback for its input 1"):
        half(a, b).backward()
