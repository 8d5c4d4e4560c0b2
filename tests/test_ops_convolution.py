"""conv2d as an operation: its sum, its options, and no gradient that nobody wants."""

import numpy as np
import pytest
from convolution_helpers import Shapes, arrays, convolutions, plain_conv2d, plain_pullback
from hypothesis import given, settings
from hypothesis import strategies as st

from geonet import Tensor, ops
from geonet.kernels import convolution

SHAPES = Shapes((2, 5, 4, 3), (2, 3, 3, 3), (2, 1), (1, 0))


@given(shapes=convolutions(), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_value_and_gradients_are_the_plain_sums(shapes, seed):
    g, *inputs = arrays(shapes, seed)
    how = shapes.stride, shapes.padding
    tensors = [Tensor(array, requires_grad=True) for array in inputs]
    y = ops.conv2d(*tensors, *how)
    np.testing.assert_allclose(y.data, plain_conv2d(*inputs, *how), rtol=1e-12, atol=1e-13)
    y.backward(g)
    expected = *plain_pullback(g, *inputs[:2], *how), g.sum(axis=(0, 1, 2))
    for tensor, gradient in zip(tensors, expected):
        np.testing.assert_allclose(tensor.grad, gradient, rtol=1e-12, atol=1e-13)


def test_one_number_counts_for_both_sides():
    _, x, weight, _ = arrays(SHAPES)
    y = ops.conv2d(x, weight, None, 2, 1).data
    np.testing.assert_array_equal(y, ops.conv2d(x, weight, None, (2, 2), (1, 1)).data)
    assert y.shape == (2, 3, 2, 2)
    by_name = ops.conv2d(x, weight, stride=2, padding=1)
    np.testing.assert_array_equal(y, by_name.data)


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 2), (0, 1, 2), (0, 1)])
@pytest.mark.parametrize("names", [(), ("bias",), ("weight", "bias")])
def test_only_the_gradients_that_are_wanted_are_computed(wanted, names, monkeypatch):
    asked = []
    pullback = convolution.conv2d_pullback
    monkeypatch.setattr(
        convolution,
        "conv2d_pullback",
        lambda *arguments: asked.append(arguments[5]) or pullback(*arguments),
    )
    inputs = [
        Tensor(array, requires_grad=i in wanted) for i, array in enumerate(arrays(SHAPES)[1:])
    ]
    named = dict(zip(("x", "weight", "bias"), inputs))
    options = {name: named.pop(name) for name in names}
    y = ops.conv2d(*named.values(), **options, stride=SHAPES.stride, padding=SHAPES.padding)
    y.backward(np.ones(SHAPES.y))
    assert asked == [tuple(i in wanted for i in range(3))]
    assert [x.grad is not None for x in inputs] == [i in wanted for i in range(3)]


def test_integers_of_numpy_are_as_good_as_those_of_python():
    _, x, weight, _ = arrays(SHAPES)
    expected = ops.conv2d(x, weight, stride=(2, 1), padding=(1, 100))
    value = ops.conv2d(x, weight, stride=(np.int64(2), 1), padding=(1, np.int8(100)))
    np.testing.assert_array_equal(value.data, expected.data)


@pytest.mark.parametrize("value", [1.0, "1", None, (1,), (1, 1, 1), (1.0, 1), [1, 1]])
@pytest.mark.parametrize("name", ["stride", "padding"])
def test_stride_and_padding_are_whole_numbers_or_pairs(name, value):
    _, x, weight, _ = arrays(SHAPES)
    with pytest.raises(TypeError, match=f"conv2d: {name} must be an int or a pair of them"):
        ops.conv2d(x, weight, **{name: value})


@pytest.mark.parametrize("route", convolution.ROUTES)
def test_the_route_that_is_named_is_taken_both_ways(route, monkeypatch):
    shapes = Shapes((2, 5, 4, 3), (2, 3, 3, 3))
    taken = []
    for name, module in convolution.ROUTES.items():
        for direction in ("forward", "pullback"):
            original = getattr(module, direction)

            def watched(*arguments, original=original, name=name):
                taken.append(name)
                return original(*arguments)

            monkeypatch.setattr(module, direction, watched)
    _, x, weight, _ = arrays(shapes)
    y = ops.conv2d(Tensor(x, requires_grad=True), weight, route=route)
    y.backward(np.ones(shapes.y))
    assert taken == [route, route]
