"""The updates of SGD and Adam: one step by hand, and compiled as the reference has it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_helpers import of_compiled_code

from geonet.kernels import reference
from geonet.kernels.optimizers import adam, sgd


def random_state(rng, size, dtype):
    """parameter, gradient, m, v, each (size,)."""
    parameter, gradient, m = rng.normal(size=(3, size)) * 10 ** rng.uniform(-3, 3, (3, size))
    return [a.astype(dtype) for a in (parameter, gradient, m, rng.exponential(size=size))]


adam_hyperparameters = st.tuples(
    st.floats(0, 1),  # step_size
    st.sampled_from([0.0, 0.5, 0.9]),  # beta1
    st.sampled_from([0.0, 0.9, 0.999]),  # beta2
    st.floats(1, 30),  # scale
    st.sampled_from([1e-8, 1e-3]),  # eps
)


def check_agreement(state, hyperparameters, rtol):
    expected, found = ([a.copy() for a in state] for _ in range(2))
    reference.adam(*expected, *hyperparameters)
    assert adam(*found, *hyperparameters) is None
    # the new parameter is a difference: rounding is relative to what was subtracted
    scale = np.abs(state[0]) + np.abs(expected[0] - state[0])
    assert np.all(np.abs(found[0] - expected[0]) <= rtol * scale)
    np.testing.assert_array_equal(found[1], state[1])  # the gradient is only read
    for i, added in ((2, state[1]), (3, state[1] ** 2)):
        assert np.all(np.abs(found[i] - expected[i]) <= rtol * (np.abs(state[i]) + np.abs(added)))
    assert [a.dtype for a in found] == [a.dtype for a in state]


@of_compiled_code
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-14), (np.float32, 2e-6)])
@given(seed=st.integers(0, 999), size=st.integers(0, 20), hyperparameters=adam_hyperparameters)
def test_compiled_adam_agrees_with_the_reference(dtype, rtol, seed, size, hyperparameters):
    state = random_state(np.random.default_rng(seed), size, dtype)
    check_agreement(state, hyperparameters, rtol)


@pytest.mark.parametrize("update", [adam, reference.adam])
def test_one_step_of_adam_is_that_of_the_paper(update):
    p, g = np.array([1.0, -2.0, 3.0]), np.array([0.1, 0.0, -4.0])
    m, v = np.zeros(3), np.zeros(3)
    lr, beta1, beta2, eps = 0.01, 0.9, 0.999, 1e-8
    for t in (1, 2):
        update(p, g, m, v, lr / (1 - beta1**t), beta1, beta2, (1 - beta2**t) ** -0.5, eps)
    # for a gradient that stays the same, m̂ = g and v̂ = g² at every step
    expected = [1 - 2 * lr, -2, 3 + 2 * lr]
    np.testing.assert_allclose(p, expected, rtol=1e-8)
    np.testing.assert_allclose(m, (1 - beta1**2) * g)
    np.testing.assert_allclose(v, (1 - beta2**2) * g * g)


sgd_hyperparameters = st.tuples(
    st.floats(0, 1),  # lr
    st.sampled_from([0.0, 0.5, 0.9]),  # momentum
    st.sampled_from([0.0, 1e-4, 0.1]),  # weight_decay
)


@of_compiled_code
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-14), (np.float32, 2e-6)])
@given(seed=st.integers(0, 999), size=st.integers(0, 20), hyperparameters=sgd_hyperparameters)
def test_compiled_sgd_agrees_with_the_reference(dtype, rtol, seed, size, hyperparameters):
    state = np.random.default_rng(seed).normal(size=(3, size)).astype(dtype)
    expected, found = ([a.copy() for a in state] for _ in range(2))
    reference.sgd(*expected, *hyperparameters)
    assert sgd(*found, *hyperparameters) is None
    np.testing.assert_array_equal(found[1], state[1])  # the gradient is only read
    scale = np.abs(state).sum(axis=0)  # a difference is rounded relative to its terms
    for i in (0, 2):
        assert found[i].dtype == dtype
        assert np.all(np.abs(found[i] - expected[i]) <= rtol * scale)


@pytest.mark.parametrize("update", [sgd, reference.sgd])
def test_a_step_of_sgd_by_hand(update):
    parameter, gradient, velocity = np.array([1.0]), np.array([2.0]), np.array([3.0])
    update(parameter, gradient, velocity, 0.1, 0.5, 1.0)  # g = 3, u = 4.5
    assert (parameter[0], velocity[0]) == (pytest.approx(0.55), 4.5)
    update(parameter, gradient, velocity, 0.1, 0.5, 0.0)  # g = 2, u = 4.25
    assert (parameter[0], velocity[0]) == (pytest.approx(0.55 - 0.425), 4.25)
