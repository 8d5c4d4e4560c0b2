"""Products of the Hessian with a vector, exact to rounding, without a second tape."""

import numpy as np

from geonet.check.gradcheck import COMPLEX_STEP
from geonet.tensor import Tensor, gradient_of


def hvp(f, inputs, vectors):
    """H v for the Hessian H of a function of one or more arrays, by the complex step.

    H v = Im ∇L(x + i h v) / h with h = 1e-20: the gradient at x + i h v is the gradient at x plus
    i h times its derivative along v (Squire & Trapp 1998, applied to ∇L). Nothing is subtracted, so
    nothing cancels. A piecewise linear operation uses the piece of the real part.

    Parameters
    ----------
    f : function
        Takes one Tensor per input and returns a Tensor of one number. Its operations must be
        analytic or piecewise linear and accept complex numbers, as all of `geonet.ops` do.
    inputs : list of array_like
        Where H is taken; computed in float64.
    vectors : list of array_like
        v, of the shapes of the inputs.

    Returns
    -------
    list of numpy.ndarray
        H v, float64, of the same shapes; 0 for an input that L does not depend on.

    Raises
    ------
    ValueError
        If inputs and vectors differ in number or shape, or f returns no Tensor of one number.

    Examples
    --------
    >>> (product,) = hvp(lambda x: (x**3).sum(), [np.array([1.0, 2.0])], [np.array([1.0, 1.0])])
    >>> product  # the Hessian is diag(6 x)
    array([ 6., 12.])
    """
    xs, vs = ([np.asarray(a, np.float64) for a in arrays] for arrays in (inputs, vectors))
    if [x.shape for x in xs] != [v.shape for v in vs]:
        raise ValueError(f"vectors must have the shapes of the inputs, {[x.shape for x in xs]}, "
                         f"but have {[v.shape for v in vs]}")  # fmt: skip
    tensors = [Tensor(x + 1j * COMPLEX_STEP * v, requires_grad=True) for x, v in zip(xs, vs)]
    value = f(*tensors)
    if not isinstance(value, Tensor) or value.size != 1:
        found = getattr(value, "shape", type(value).__name__)
        raise ValueError(f"f must give a Tensor of one number, but gives {found}")
    if value.requires_grad:
        value.backward()
    return [gradient_of(tensor).imag / COMPLEX_STEP for tensor in tensors]
