"""Looking on while operations are recorded changes nothing; anomalies are named as they arise."""

import functools
import gc
import pickle
import re
import weakref

import numpy as np
import pytest
from graph_helpers import data, network, step

from geonet import Tensor, graph, no_grad, ops
from geonet.models import METHODS
from geonet.tensor import primitive


def a_line_of_the_user(x):
    return ops.exp(x)  # the line that is to be found


# Watching -----------------------------------------------------------------------------------------


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


def test_values_are_not_copied_and_gradients_are_those_of_retain_grad():
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
    _, _, watched = step()
    for what in ("operation", "shape", "pullback"):
        assert [getattr(n, what) for n in found.nodes] == [getattr(n, what) for n in watched.nodes]
    assert {n.line for n in found.nodes} == {None}
    assert "were not kept" in found.table().splitlines()[-1]
    loss.backward()
    with pytest.raises(RuntimeError, match="freed this graph: trace it before, or record it"):
        graph.trace(loss)


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


def test_a_watched_graph_is_freed_with_its_last_tensor():
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


# Anomalies ----------------------------------------------------------------------------------------


def test_the_first_nan_going_forward_is_named_with_inputs_and_line():
    x = Tensor([4.0, -1.0, 0.0], requires_grad=True)
    with pytest.raises(graph.Anomaly) as caught, graph.anomalies():
        ops.log(x).sum()  # here
    said = str(caught.value).splitlines()
    assert said[0] == "the result of log: 1 NaN and 1 infinite of 3 entries"
    assert said[1] == "  x: (3,) float64 from -1 to 4"
    assert re.fullmatch(
        r"called at tests/test_graph_recording.py:\d+: ops.log\(x\).sum\(\)  # here", said[2]
    )
    assert (caught.value.operation, caught.value.backward) == ("log", False)


def test_a_nan_in_the_imaginary_part_is_counted():
    x = Tensor([1j, 1.0], requires_grad=True)
    with pytest.raises(graph.Anomaly) as caught, graph.anomalies():
        x + np.array([complex(0, np.nan), 0])
    assert str(caught.value).startswith("the result of add: 1 NaN of 2 entries\n")


def test_watch_and_anomalies_decorate_functions():
    @graph.anomalies()
    @graph.watch(gradients=True)
    def loss(x):
        return ops.sum(ops.log(x))

    x = Tensor(np.ones(2), requires_grad=True)
    assert "log" in graph.trace(loss(x)).table()
    with pytest.raises(graph.Anomaly, match="the result of log"):
        loss(Tensor(np.array([-1.0]), requires_grad=True))
    assert loss(x).item() == 0


def test_anomalies_cannot_be_entered_twice_and_leave_the_warnings_as_they_were():
    before, looking = np.geterr(), graph.anomalies()
    with looking, pytest.raises(RuntimeError, match="is observing already"):
        looking.__enter__()
    assert np.geterr() == before


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
    assert caught.value.line.startswith("tests/test_graph_recording.py:")


def test_a_gradient_that_arrives_infinite_is_named():
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
    _, _, watched = step(method)
    assert [n.pullback for n in found.nodes] == [n.pullback for n in watched.nodes]
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
