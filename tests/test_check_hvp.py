"""Hessian-vector products: symmetric, linear, and those of known Hessians and of differences."""

import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import geonet
from geonet import METHODS, Tensor, hvp, nn, ops
from geonet.models import mlp

SEEDS = st.integers(0, 999)


def smooth(x, y):
    """A function of a matrix and a vector with a full Hessian."""
    return (ops.tanh(x @ y) * ops.exp(y[:3])).sum() + (x * x).sum() * y.mean()


def draw(seed, shapes=((3, 4), (4,))):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


def inner(left, right):
    return sum(np.vdot(a, b) for a, b in zip(left, right))


@given(SEEDS)
def test_the_product_is_symmetric(seed):
    x, v, w = draw(seed), draw(seed + 1000), draw(seed + 2000)
    left, right = inner(w, hvp(smooth, x, v)), inner(v, hvp(smooth, x, w))
    assert left == pytest.approx(right, rel=1e-10, abs=1e-10)


@given(SEEDS, st.floats(-3, 3), st.floats(-3, 3))
def test_the_product_is_linear_in_the_vector(seed, a, b):
    x, v, w = draw(seed), draw(seed + 1000), draw(seed + 2000)
    together = hvp(smooth, x, [a * p + b * q for p, q in zip(v, w)])
    apart = [a * p + b * q for p, q in zip(hvp(smooth, x, v), hvp(smooth, x, w))]
    for one, other in zip(together, apart):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


@given(SEEDS)
def test_the_hessian_of_a_quadratic_form_is_twice_its_symmetric_part(seed):
    (matrix, x, v) = draw(seed, ((5, 5), (5,), (5,)))
    (product,) = hvp(lambda x: (x * (matrix @ x)).sum(), [x], [v])
    np.testing.assert_allclose(product, (matrix + matrix.T) @ v, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_of_a_network_the_product_is_the_difference_of_gradients(method):
    model = mlp([3, 6, 5, 1], method, rng=np.random.default_rng(0), activation="tanh")
    places = [
        (module, name)
        for _, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, nn.Parameter)
    ]
    x, y = draw(1, ((8, 3), (8, 1)))
    start = [getattr(*place).data.copy() for place in places]
    v = draw(2, [array.shape for array in start])

    def loss(*parameters):
        for (module, name), parameter in zip(places, parameters):
            setattr(module, name, parameter)
        return ops.mse(model(x), y)

    def gradients(step):
        tensors = [Tensor(a + step * b, requires_grad=True) for a, b in zip(start, v)]
        loss(*tensors).backward()
        return [np.zeros(t.shape) if t.grad is None else t.grad for t in tensors]

    numeric = [(a - b) / 2e-5 for a, b in zip(gradients(1e-5), gradients(-1e-5))]
    scale = max(np.abs(n).max() for n in numeric)
    for exact, difference in zip(hvp(loss, start, v), numeric):
        np.testing.assert_allclose(exact, difference, rtol=0, atol=1e-6 * scale)


def test_at_a_kink_and_away_from_it_relu_has_no_curvature():
    (product,) = hvp(lambda x: ops.relu(x).sum(), [np.array([-1.0, 0.0, 2.0])], [np.ones(3)])
    np.testing.assert_array_equal(product, 0)


def test_inputs_are_left_alone_and_those_without_effect_get_zero():
    x, v = draw(0), draw(1)
    copies = [a.copy() for a in (*x, *v)]
    first, second = hvp(lambda x, y: (x * x).sum(), x, v)
    np.testing.assert_array_equal(first, 2 * v[0])
    np.testing.assert_array_equal(second, np.zeros(4))
    for array, copy in zip((*x, *v), copies):
        np.testing.assert_array_equal(array, copy)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"vectors must have the shapes of the inputs, \[\(2,\)\]"):
        geonet.hvp(lambda x: x.sum(), [np.ones(2)], [np.ones(3)])
    with pytest.raises(ValueError, match=r"f must give a Tensor of one number.*\(2,\)"):
        geonet.hvp(lambda x: x * x, [np.ones(2)], [np.ones(2)])
    with pytest.raises(ValueError, match=r"f must give a Tensor of one number, but gives float"):
        geonet.hvp(lambda x: 3.0, [np.ones(2)], [np.ones(2)])


@pytest.mark.parametrize("name", ["gt", "ge", "lt", "le", "eq", "ne"])
@pytest.mark.parametrize("other", [0, Tensor(0.0), np.zeros(3)], ids=["number", "Tensor", "array"])
def test_a_comparison_at_its_threshold_takes_the_piece_of_the_real_part(name, other):
    """At 0 the piece is chosen by 0 > 0 and its like, whatever the imaginary step."""
    compare = getattr(operator, name)
    x, v = np.array([-1.0, 0.0, 2.0]), np.array([1.0, -1.0, 1.0])
    (product,) = hvp(lambda t: ops.where(compare(t, other), t * t, 3 * t * t).sum(), [x], [v])
    np.testing.assert_array_equal(product, np.where(compare(x, 0), 2, 6) * v)


def test_the_condition_of_where_is_a_real_part_too():
    x, v = np.array([-1.0, 0.0, 2.0]), np.array([1.0, -1.0, 1.0])
    (product,) = hvp(lambda t: ops.where(t.detach(), t * t, 3 * t * t).sum(), [x], [v])
    np.testing.assert_array_equal(product, [2, -6, 2])


def test_a_condition_on_a_number_looks_at_the_real_part():
    (product,) = hvp(lambda t: t * t if t else 3 * t * t, [0.0], [1.0])
    assert product == 6


@pytest.mark.parametrize(
    "change",
    [lambda a: a.astype(np.int8), lambda a: a.astype(">f4"), lambda a: a[::-1].copy()[::-1]],
)
def test_inputs_and_vectors_may_be_any_real_numbers(change):
    x, v = np.array([-2.0, 1.0, 3.0]), np.array([1.0, 0.0, -2.0])
    (product,) = hvp(lambda t: (t * t * t).sum(), [change(x)], [change(v)])
    np.testing.assert_allclose(product, 6 * x * v, rtol=1e-15)
