"""Hyperspherical coordinates of vectors in n dimensions, on plain arrays.

A vector is x = r u(θ) with radius r and n − 1 angles θ. With s_k = ∏_{j<k} sin θ_j (s_1 = 1):

    u_k = s_k cos θ_k  for k < n,    u_n = s_n.

All arithmetic is done in float64; float32 input gives float32 output, integers count as float64.
"""

import math

import numpy as np

from geonet.kernels import directions as kernel


def to_cartesian(theta, radius=1.0):
    """Vectors x = r u(θ).

    Parameters
    ----------
    theta : array_like, shape (..., n-1)
        Angles in radians, of any size.
    radius : array_like, shape (...), default 1
        Lengths, broadcast against the leading axes of theta.

    Returns
    -------
    array, shape (..., n), of theta's dtype

    Raises
    ------
    ValueError
        If theta is a scalar, or radius does not broadcast against its leading axes.
    TypeError
        If theta or radius is not real.

    Examples
    --------
    >>> to_cartesian([np.pi / 2, np.pi / 6], 2.0).round(3)
    array([0.   , 1.732, 1.   ])
    """
    theta = _real("theta", theta)
    *leading, angles = theta.shape
    u = kernel.direction(theta.reshape(math.prod(leading), angles))
    radius = _real("radius", radius, axes=0).astype(theta.dtype)
    try:
        return radius[..., np.newaxis] * u.reshape(*leading, angles + 1)
    except ValueError:
        raise ValueError(
            f"radius must broadcast against the leading axes {tuple(leading)} of theta, "
            f"but has shape {radius.shape}"
        ) from None


def to_hyperspherical(x):
    """Angles and radius of vectors: the inverse of `to_cartesian`.

    With r_k = √(x_k² + … + x_n²): θ_k = atan2(r_{k+1}, x_k) for k < n − 1,
    θ_{n−1} = atan2(x_n, x_{n−1}), and the radius is r_1. The last angle keeps the sign of x_n.

    Parameters
    ----------
    x : array_like, shape (..., n)
        n ≥ 1. Any finite size: rows are scaled, so that squares neither overflow nor underflow.

    Returns
    -------
    theta : array, shape (..., n-1)
        θ_1 … θ_{n−2} in [0, π] and θ_{n−1} in (−π, π]. A float32 angle that would round to more
        than π is the float32 below it, so that sin θ has the right sign.
    radius : array, shape (...)
        ‖x‖ ≥ 0 for n ≥ 2. For n = 1 there is no angle, and the radius is x itself, sign included.

    Notes
    -----
    At a pole, where all later components are zero, the undetermined angles are 0. So a zero vector
    has radius 0 and all angles 0, which is the direction of the first axis.
    NaN in x gives NaN in the radius and in the angles that depend on it.

    Rounding the angles turns the direction by √(Σ s_k² ε_k²): n float32 angles represent an
    ordinary direction to about √n · 3e-8 radians.

    Raises
    ------
    ValueError
        If x is a scalar or n = 0.
    TypeError
        If x is not real.

    Examples
    --------
    >>> theta, radius = to_hyperspherical([0.0, 3.0, -4.0])
    >>> theta.round(3), radius
    (array([ 1.571, -0.927]), np.float64(5.0))
    """
    x = _real("x", x)
    if x.shape[-1] == 0:
        raise ValueError(f"x must have at least one component, but has shape {x.shape}")
    _, exponent = np.frexp(np.max(np.abs(x), axis=-1, keepdims=True))
    # The largest component becomes about 1. Adding 0.0 turns -0.0 into 0.0: atan2 tells them apart.
    scaled = np.ldexp(x.astype(np.float64), -exponent) + 0.0
    # r_1 … r_{n−1} and x_n: accumulate starts with x_n itself, with its sign.
    tail = np.hypot.accumulate(scaled[..., ::-1], axis=-1)[..., ::-1]
    theta = np.arctan2(tail[..., 1:], scaled[..., :-1]).astype(x.dtype)
    pi = x.dtype.type(np.pi)
    largest = pi if float(pi) <= math.pi else np.nextafter(pi, x.dtype.type(0))
    theta = np.clip(theta, np.nextafter(-pi, x.dtype.type(0)), largest)
    return theta, np.ldexp(tail[..., 0], exponent[..., 0]).astype(x.dtype)


def metric(theta):
    """Diagonal of the metric of the unit sphere: ‖∂u/∂θ_k‖² = s_k². All other entries are zero.

    Parameters
    ----------
    theta : array_like, shape (..., n-1)
        Angles in radians.

    Returns
    -------
    array, shape (..., n-1)

    Raises
    ------
    ValueError, TypeError
        If theta is a scalar, or not real.

    Examples
    --------
    >>> metric([np.pi / 6, np.pi / 4, 1.0]).round(3)
    array([1.   , 0.25 , 0.125])
    """
    theta = _real("theta", theta)
    return (_sine_products(np.sin(theta.astype(np.float64)))[..., :-1] ** 2).astype(theta.dtype)


def jacobian(theta):
    """∂u_i/∂θ_k, without division and therefore exact at the poles.

    Column k is 0 above row k, −s_k sin θ_k = −s_{k+1} in row k, and below it s_k cos θ_k times
    the direction u(θ_{k+1}, …, θ_{n−1}) of the later angles.

    Parameters
    ----------
    theta : array_like, shape (..., n-1)
        Angles in radians.

    Returns
    -------
    array, shape (..., n, n-1)

    Raises
    ------
    ValueError, TypeError
        If theta is a scalar, or not real.

    Examples
    --------
    >>> jacobian([np.pi / 2]).round(3)
    array([[-1.],
           [ 0.]])
    """
    theta = _real("theta", theta)
    sine, cosine = np.sin(theta.astype(np.float64)), np.cos(theta.astype(np.float64))
    s = _sine_products(sine)
    columns = np.zeros((*theta.shape, theta.shape[-1] + 1))  # (..., n−1, n)
    direction = np.ones(s.shape)  # its components from k + 1 on: u(θ_{k+1}, …)
    for k in reversed(range(theta.shape[-1])):
        later = direction[..., k + 1 :]
        columns[..., k, k] = -s[..., k + 1]
        columns[..., k, k + 1 :] = (s[..., k] * cosine[..., k])[..., np.newaxis] * later
        later *= sine[..., k, np.newaxis]
        direction[..., k] = cosine[..., k]
    return np.ascontiguousarray(np.swapaxes(columns, -1, -2), theta.dtype)


def angle_between(u, v):
    """Angle between vectors, accurate near 0 and π: 2 atan2(‖û − v̂‖, ‖û + v̂‖) with û = u/‖u‖.

    The formula is Kahan's. The arc cosine of û·v̂ would lose half of the digits there.

    Parameters
    ----------
    u, v : array_like, shape (..., n)
        Vectors of any length; leading axes broadcast.

    Returns
    -------
    array, shape (...)
        Radians in [0, π], float32 if u and v both are. NaN where a vector is zero or not finite.

    Raises
    ------
    ValueError
        If u and v differ in n, n = 0, or their leading axes do not broadcast.
    TypeError
        If u or v is not real.

    Examples
    --------
    >>> angle_between([1.0, 0.0], [[1.0, 1e-12], [-2.0, 0.0]])
    array([1.00000000e-12, 3.14159265e+00])
    """
    u, v = _real("u", u), _real("v", v)
    if u.shape[-1] != v.shape[-1] or u.shape[-1] == 0:
        raise ValueError(
            f"u and v must have the same number of components, at least one, "
            f"but have shapes {u.shape} and {v.shape}"
        )
    unit_u, unit_v = _normalized(u), _normalized(v)
    difference = np.linalg.norm(unit_u - unit_v, axis=-1)
    angle = 2.0 * np.arctan2(difference, np.linalg.norm(unit_u + unit_v, axis=-1))
    return angle.astype(np.result_type(u, v))


def random_directions(count, n, rng):
    """Unit vectors drawn uniformly from the sphere in n dimensions: normalized Gaussian vectors.

    Parameters
    ----------
    count, n : int
        Number of vectors, and of their components; n ≥ 1. For n = 1 the vectors are ±1.
    rng : numpy.random.Generator

    Returns
    -------
    array, shape (count, n), float64

    Raises
    ------
    ValueError
        If n < 1 or count < 0.

    Examples
    --------
    >>> random_directions(2, 3, np.random.default_rng(0)).shape
    (2, 3)
    """
    if n < 1 or count < 0:
        raise ValueError(f"n must be at least 1 and count at least 0, but they are {n} and {count}")
    gaussian = rng.standard_normal((count, n))
    gaussian[~gaussian.any(axis=-1), 0] = 1.0  # a row of zeros is very unlikely, but possible
    return _normalized(gaussian)


def _real(name, x, axes=1):
    """x as a float32 or float64 array with at least this number of axes."""
    x = np.asarray(x)
    if x.dtype.kind not in "iuf":
        raise TypeError(f"{name} must be an array of real numbers, not of {x.dtype}")
    if x.ndim < axes:
        raise ValueError(f"{name} must have at least one axis, but is the scalar {x}")
    single = (x.dtype.kind, x.dtype.itemsize) == ("f", 4)  # in either byte order
    return x.astype(np.float32 if single else np.float64, copy=False)


def _sine_products(sine):
    """s_k = ∏_{j<k} sin θ_j: (..., n−1) -> (..., n)."""
    s = np.ones((*sine.shape[:-1], sine.shape[-1] + 1))
    np.cumprod(sine, axis=-1, out=s[..., 1:])
    return s


def _normalized(x):
    """x/‖x‖ in float64, scaled first so that squares neither overflow nor underflow."""
    x = x.astype(np.float64, copy=False)
    with np.errstate(invalid="ignore"):  # 0/0 and inf/inf are NaN
        x = x / np.max(np.abs(x), axis=-1, keepdims=True)
        return x / np.linalg.norm(x, axis=-1, keepdims=True)
