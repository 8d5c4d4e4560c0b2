"""Products of the Hessian with a vector, exact to rounding, without a second tape."""

import numpy as np

from geonet.tensor import Tensor

STEP = 1e-20  # so small that what is of second order in it vanishes beside the rest


def hvp(f, inputs, vectors):
    """H v for the Hessian H of a function of one or more arrays, by the complex step.

    H v = Im ∇L(x + i h v) / h with h = 1e-20: the gradient, at a place moved by i h v, is the real
    one plus i h times its derivative along v (Squire & Trapp 1998, applied to ∇L). Nothing is
    subtracted, so nothing cancels. At a kink of a piecewise linear operation the piece of the real
    part counts.

    Parameters
    ----------
    f : function
        Takes one Tensor an input and gives a Tensor of one number, by analytic or piecewise linear
        operations that accept complex numbers, as all of `geonet.ops` do.
    inputs : list of array_like
        Where H is taken; worked out in float64.
    vectors : list of array_like
        v, of the shapes of the inputs.

    Returns
    -------
    list of numpy.ndarray
        H v, float64, of the same shapes; 0 for an input that L does not depend on.

    Raises
    ------
    ValueError
        If the numbers or shapes of inputs and vectors differ, or f does not give one number.

    Examples
    --------
    >>> (product,) = hvp(lambda x: (x**3).sum(), [np.array([1.0, 2.0])], [np.array([1.0, 1.0])])
    >>> product  # the Hessian is diag(6 x)
    array([ 6., 12.])
    """
    xs, vs = ([np.asarray(a, np.float64) for a in arrays] for arrays in (inputs, vectors))
    if [x.shape for x in xs] != [v.shape for v in vs]:
        raise ValueError(
            f"vectors must have the shapes of the inputs, {[x.shape for x in xs]}, "
            f"but have {[v.shape for v in vs]}"
        )
    tensors = [Tensor(x + 1j * STEP * v, requires_grad=True) for x, v in zip(xs, vs)]
    value = f(*tensors)
    if value.size != 1:
        raise ValueError(f"f must give one number, but gives shape {value.shape}")
    if value.requires_grad:
        value.backward()
    zeros = (np.zeros(x.shape) for x in xs)
    return [z if t.grad is None else t.grad.imag / STEP for t, z in zip(tensors, zeros)]
