"""The direction u(θ) of a unit and its pullback, for O units of n inputs, in O(n) a unit.

    theta (O, n−1)   angles, unconstrained           s_k = ∏_{j<k} sin θ_j,  s_1 = 1
    u     (O, n)     unit rows                       u_k = s_k cos θ_k,      u_n = s_n
    g     (O, n)     ∂L/∂u                           A_n = g_n,  A_k = g_k cos θ_k + A_{k+1} sin θ_k
    grad  (O, n−1)   ∂L/∂θ                           grad_k = s_k (A_{k+1} cos θ_k − g_k sin θ_k)

Nothing is divided, so the pullback is exact at the poles, where some sin θ_k = 0.

The recurrences run in float64 whatever the dtype of theta. That alone is not enough for float32: a
rounded sin θ is wrong by some 1e-7, and the product of thousands of them would drift. With
sin² + cos² = 1 + δ as rounded, sin θ · (1 − δ/2) is right to first order, and s_k stays so.
"""

import numpy as np

from geonet.kernels.jit import lazy_jit

# Angles to take through sin, cos and the recurrence at a time: few enough to stay in the cache.
BLOCK_SIZE = 2**16


def direction(theta):
    """Unit rows u (O, n) of the angles theta (O, n−1), and what the pullback needs: (sin θ, cos θ).

    float32 and float64 run compiled, complex128 (for complex-step derivatives) in NumPy.
    """
    if theta.dtype.kind == "c":
        return direction_numpy(theta)
    units, angles = theta.shape
    sine, cosine = np.empty(theta.shape, theta.dtype), np.empty(theta.shape, theta.dtype)
    u = np.empty((units, angles + 1), theta.dtype)
    rows = 4 * max(1, BLOCK_SIZE // (4 * angles + 4))  # `_forward` takes four at a time
    for first in range(0, units, rows):
        block = slice(first, first + rows)
        np.sin(theta[block], out=sine[block])
        np.cos(theta[block], out=cosine[block])
        _forward(sine[block], cosine[block], u[block])
    return u, (sine, cosine)


def direction_pullback(g, saved):
    """∂L/∂θ (O, n−1) of g = ∂L/∂u (O, n), with `saved` as `direction` returned it."""
    sine, cosine = saved
    if g.dtype.kind == "c" or sine.dtype.kind == "c":
        return direction_pullback_numpy(g, saved)
    grad = np.empty(sine.shape, sine.dtype)
    _backward(np.ascontiguousarray(g, sine.dtype), sine, cosine, grad)
    return grad


def direction_numpy(theta):
    """`direction` in plain NumPy."""
    sine, cosine = np.sin(theta), np.cos(theta)
    u = _products(_corrected.py_func(sine, cosine))
    u[:, :-1] *= cosine
    return u.astype(theta.dtype), (sine, cosine)


def direction_pullback_numpy(g, saved):
    """`direction_pullback` in plain NumPy."""
    sine, cosine = saved
    sine = _corrected.py_func(sine, cosine)
    product = _products(sine)
    grad = np.empty(sine.shape, np.result_type(g, sine))
    suffix = g[:, -1]  # A_n
    for k in reversed(range(sine.shape[1])):
        grad[:, k] = product[:, k] * (suffix * cosine[:, k] - g[:, k] * sine[:, k])
        suffix = g[:, k] * cosine[:, k] + suffix * sine[:, k]
    return grad.astype(np.result_type(g, cosine))


def _products(sine):
    """s_k = ∏_{j<k} sin θ_j: (O, n−1) -> (O, n)."""
    product = np.ones((sine.shape[0], sine.shape[1] + 1), sine.dtype)
    np.cumprod(sine, axis=1, out=product[:, 1:])
    return product


@lazy_jit(fastmath={"contract"})
def _corrected(sine, cosine):
    """sin θ (1 − δ/2) in float64, where sin² + cos² = 1 + δ as rounded. Arrays or numbers."""
    sine, cosine = sine * np.float64(1), cosine * np.float64(1)
    return sine * (1.5 - 0.5 * (sine * sine + cosine * cosine))


@lazy_jit(fastmath={"contract"})
def _forward(sine, cosine, u):
    """Units go in fours: a step of a recurrence waits for the step before it, so one unit alone
    would leave the processor mostly idle. What is missing from the last four is its last unit.
    """
    units, angles = sine.shape
    s = np.empty((4, angles))  # sin θ_k of the four units
    for first in range(0, units, 4):
        last = units - 1
        h, i, j, m = first, min(first + 1, last), min(first + 2, last), min(first + 3, last)
        for row, unit in enumerate((h, i, j, m)):
            for k in range(angles):
                s[row, k] = _corrected(sine[unit, k], cosine[unit, k])
        s_h = s_i = s_j = s_m = 1.0  # s_k
        for k in range(angles):
            u[h, k], u[i, k] = s_h * cosine[h, k], s_i * cosine[i, k]
            u[j, k], u[m, k] = s_j * cosine[j, k], s_m * cosine[m, k]
            s_h, s_i, s_j, s_m = s_h * s[0, k], s_i * s[1, k], s_j * s[2, k], s_m * s[3, k]
        u[h, angles], u[i, angles], u[j, angles], u[m, angles] = s_h, s_i, s_j, s_m


@lazy_jit(fastmath={"contract"})
def _backward(g, sine, cosine, grad):
    """In pairs, for the reason of `_forward`; s_k goes up the row while A_k comes down it."""
    units, angles = sine.shape
    s, product = np.empty((2, angles)), np.empty((2, angles))  # sin θ_k, s_k
    suffix = np.empty((2, angles))  # g_k cos θ_k, then A_{k+1}
    for i in range(0, units, 2):
        j = min(i + 1, units - 1)
        for row, unit in enumerate((i, j)):
            for k in range(angles):
                s[row, k] = _corrected(sine[unit, k], cosine[unit, k])
                suffix[row, k] = np.float64(g[unit, k]) * cosine[unit, k]
        s_i = s_j = 1.0
        a_i, a_j = np.float64(g[i, angles]), np.float64(g[j, angles])
        for k in range(angles):
            product[0, k], product[1, k] = s_i, s_j
            s_i, s_j = s_i * s[0, k], s_j * s[1, k]
            m = np.uint64(angles - 1 - k)  # unsigned: no test for an index from the end
            suffix[0, m], a_i = a_i, a_i * s[0, m] + suffix[0, m]
            suffix[1, m], a_j = a_j, a_j * s[1, m] + suffix[1, m]
        for row, unit in enumerate((i, j)):
            for k in range(angles):
                turn = suffix[row, k] * cosine[unit, k] - g[unit, k] * s[row, k]
                grad[unit, k] = product[row, k] * turn
