"""The outer product is that of NumPy, to the last bit."""

import numpy as np
import pytest

from geonet.kernels.outer_product import outer


@pytest.mark.parametrize("dtypes", ["ff", "dd", "fd", "DD", "dD", "ii"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (0, 4), (4, 0)])
def test_every_entry_is_the_product_of_two(dtypes, shape):
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=n).astype(dtype) for n, dtype in zip(shape, dtypes, strict=True))
    expected = x[:, None] * y
    found = outer(x, y)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_strided_vectors_are_taken_as_they_are():
    x, y = np.arange(12.0)[::-2], np.arange(6.0).reshape(2, 3)[:, 1]
    np.testing.assert_array_equal(outer(x, y), x[:, None] * y)


def test_infinity_and_nan_pass_as_numpy_has_them():
    x, y = np.array([0.0, np.inf, np.nan]), np.array([1.0, np.inf])
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(outer(x, y), x[:, None] * y)
