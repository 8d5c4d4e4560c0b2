"""The compiled momentum update does what its plain NumPy twin does."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geonet.kernels.sgd import sgd, sgd_numpy

hyperparameters = st.tuples(
    st.floats(0, 1),  # lr
    st.sampled_from([0.0, 0.5, 0.9]),  # momentum
    st.sampled_from([0.0, 1e-4, 0.1]),  # weight_decay
    st.booleans(),  # nesterov
)


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-14), (np.float32, 2e-6)])
@given(seed=st.integers(0, 999), size=st.integers(0, 20), hyperparameters=hyperparameters)
def test_the_compiled_update_agrees_with_numpy(dtype, rtol, seed, size, hyperparameters):
    state = np.random.default_rng(seed).normal(size=(3, size)).astype(dtype)
    expected, found = ([a.copy() for a in state] for _ in range(2))
    sgd_numpy(*expected, *hyperparameters)
    assert sgd(*found, *hyperparameters) is None
    np.testing.assert_array_equal(found[1], state[1])  # the gradient is only read
    scale = np.abs(state).sum(axis=0)  # a difference is rounded relative to its terms
    for i in (0, 2):
        assert found[i].dtype == dtype
        assert np.all(np.abs(found[i] - expected[i]) <= rtol * scale)


@pytest.mark.parametrize("update", [sgd, sgd_numpy])
def test_a_step_by_hand(update):
    parameter, gradient, velocity = np.array([1.0]), np.array([2.0]), np.array([3.0])
    update(parameter, gradient, velocity, 0.1, 0.5, 1.0, False)  # g = 3, u = 4.5
    assert (parameter[0], velocity[0]) == (pytest.approx(0.55), 4.5)
    update(parameter, gradient, velocity, 0.1, 0.5, 0.0, True)  # g = 2, u = 4.25
    assert (parameter[0], velocity[0]) == (pytest.approx(0.55 - 0.1 * (2 + 2.125)), 4.25)
