"""The compiled Adam update does what its plain NumPy twin does."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geonet.kernels.adam import adam, adam_numpy


def random_state(rng, size, dtype):
    """parameter, gradient, m, v, each (size,)."""
    parameter, gradient, m = rng.normal(size=(3, size)) * 10 ** rng.uniform(-3, 3, (3, size))
    return [a.astype(dtype) for a in (parameter, gradient, m, rng.exponential(size=size))]


hyperparameters = st.tuples(
    st.floats(0, 1),  # step_size
    st.sampled_from([0.0, 0.5, 0.9]),  # beta1
    st.sampled_from([0.0, 0.9, 0.999]),  # beta2
    st.floats(1, 30),  # scale
    st.sampled_from([1e-8, 1e-3]),  # eps
)


def check_agreement(state, hyperparameters, rtol):
    expected, found = ([a.copy() for a in state] for _ in range(2))
    adam_numpy(*expected, *hyperparameters)
    assert adam(*found, *hyperparameters) is None
    # the new parameter is a difference: rounding is relative to what was subtracted
    scale = np.abs(state[0]) + np.abs(expected[0] - state[0])
    assert np.all(np.abs(found[0] - expected[0]) <= rtol * scale)
    np.testing.assert_array_equal(found[1], state[1])  # the gradient is only read
    for i, added in ((2, state[1]), (3, state[1] ** 2)):
        assert np.all(np.abs(found[i] - expected[i]) <= rtol * (np.abs(state[i]) + np.abs(added)))
    assert [a.dtype for a in found] == [a.dtype for a in state]


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-14), (np.float32, 2e-6)])
@given(seed=st.integers(0, 999), size=st.integers(0, 20), hyperparameters=hyperparameters)
def test_the_compiled_update_agrees_with_numpy(dtype, rtol, seed, size, hyperparameters):
    state = random_state(np.random.default_rng(seed), size, dtype)
    check_agreement(state, hyperparameters, rtol)


@pytest.mark.parametrize("update", [adam, adam_numpy])
def test_one_step_is_that_of_the_paper(update):
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


def test_the_kernel_agrees_without_compilation_too():
    program = (
        "import numpy as np\n"
        "from test_kernels_adam import check_agreement, random_state\n"
        "for dtype, rtol in ((np.float64, 1e-14), (np.float32, 2e-6)):\n"
        "    state = random_state(np.random.default_rng(0), 7, dtype)\n"
        "    check_agreement(state, (0.01, 0.9, 0.999, 1.5, 1e-8), rtol)\n"
    )
    tests = Path(__file__).parent
    path = os.pathsep.join([str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": path}
    subprocess.run([sys.executable, "-W", "error", "-c", program], env=environment, check=True)
