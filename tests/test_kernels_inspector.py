"""What is recorded of a layer at a step: compiled in one pass, as the reference has it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_helpers import of_compiled_code

from geonet import hypersphere
from geonet.kernels import inspector, reference


@of_compiled_code
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@settings(max_examples=15)
@given(st.integers(1, 5), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_compiled_records_are_those_of_the_reference(dtype, units, n, seed):
    rng = np.random.default_rng(seed)
    weight, gradient = rng.normal(size=(2, units, n)).astype(dtype)
    bias = rng.normal(size=units).astype(dtype)
    output = rng.integers(0, 2, size=(7, units)).astype(dtype)
    place = hypersphere.random_directions(units, n, rng), rng.normal(size=units)
    resting = np.zeros(units, dtype)
    found = []
    for form in (inspector, reference):
        record = np.full((7, units), np.nan)
        direction, offset = (a.copy() for a in place)
        form.gradient_parts(weight, gradient, *record[:4])
        form.movement(weight, bias, direction, offset, *record[4:6])
        form.activity(output, resting, record[6])
        found.append((record, direction, offset))
    for one, other in zip(*found):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
