"""Numbers that exercises are tried on: hypothesis strategies of readable ones, which shrink."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays


def quarters(largest):
    """Multiples of a quarter from −largest to largest: sums and products of them are exact."""
    return st.integers(-4 * largest, 4 * largest).map(lambda k: k / 4)


QUARTERS = quarters(2)
NONZERO = st.integers(-8, 8).filter(bool).map(lambda k: k / 4)
# Such angles leave no pre-activation at exactly 0 unless every term of it is 0, so that rounding
# decides nothing.
ANGLES = st.integers(-10, 10).map(lambda k: 0.1 + 0.3 * k)


def array(shape, elements=QUARTERS):
    """Arrays of this shape, float64, with every entry drawn."""
    return arrays(np.float64, shape, elements=elements, fill=st.nothing())


def gmp_units():
    """θ (O, n−1), λ (O,) and r (O,), which is not 0, for 1 to 3 units of 2 to 4 inputs."""
    shapes = st.tuples(st.integers(1, 3), st.integers(2, 4))
    return shapes.flatmap(
        lambda s: st.tuples(array((s[0], s[1] - 1), ANGLES), array(s[0]), array(s[0], NONZERO))
    )
