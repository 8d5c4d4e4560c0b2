"""The direction u(θ) of a unit and its pullback, for O units of n inputs, in O(n) per unit.

    theta (O, n−1)   angles, unconstrained           s_k = ∏_{j<k} sin θ_j,  s_1 = 1
    u     (O, n)     unit rows                       u_k = s_k cos θ_k,      u_n = s_n
    g     (O, n)     ∂L/∂u                           A_n = g_n,  A_k = g_k cos θ_k + A_{k+1} sin θ_k
    grad  (O, n−1)   ∂L/∂θ                           grad_k = s_k (A_{k+1} cos θ_k − g_k sin θ_k)

There is no division, so the pullback is exact at the poles, where some sin θ_k = 0.

Sines, products and sums are float64 for every dtype of theta. A sine rounded to float32 has an
error of about 1e-7, and the product of thousands of them would drift. The pullback computes sine
and cosine again, which takes no longer here than loading them from memory.
"""

import numpy as np

from geonet.kernels import reference
from geonet.kernels.blocks import for_blocks
from geonet.kernels.switch import equal_to, lazy_jit

LARGEST_ANGLE = 1e6  # up to which the polynomials are accurate


@equal_to(reference.direction, arrays=1)
def direction(theta):
    """Unit rows u (O, n) of the angles theta (O, n−1)."""
    u = np.empty((theta.shape[0], theta.shape[1] + 1), theta.dtype)
    for_blocks(_forward, theta, u)
    return u


@equal_to(reference.direction_pullback, arrays=2)
def direction_pullback(g, theta):
    """∂L/∂θ (O, n−1) for g = ∂L/∂u (O, n)."""
    grad = np.empty_like(theta)
    for_blocks(_backward, theta, g, grad)
    return grad


@lazy_jit(fastmath={"contract"})
def _forward(theta, u, first, last):
    angles = theta.shape[1]
    sine, cosine = np.empty(angles), np.empty(angles, theta.dtype)
    for unit in range(first, last):
        _sine_cosine(theta[unit], sine, cosine)
        s = 1.0
        for k in range(angles):
            u[unit, k] = s * cosine[k]
            s *= sine[k]
        u[unit, angles] = s


@lazy_jit(fastmath={"contract"})
def _backward(theta, g, grad, first, last):
    angles = theta.shape[1]
    sine, cosine = np.empty(angles), np.empty(angles, theta.dtype)
    s, after = np.empty(angles, theta.dtype), np.empty(angles, theta.dtype)
    for unit in range(first, last):
        _sine_cosine(theta[unit], sine, cosine)
        _two_scans(sine, cosine, g[unit], s, after)
        for k in range(angles):
            grad[unit, k] = s[k] * (after[k] * cosine[k] - g[unit, k] * sine[k])


@lazy_jit(fastmath={"contract"})
def _two_scans(sine, cosine, g, s, after):
    """s_k, which runs up the row, and A_{k+1}, which runs down, in one loop.

    Each waits for its own last product, and the processor computes the other one meanwhile.
    """
    angles = sine.size
    product, total = 1.0, np.float64(g[angles])
    for up in range(angles):
        down = np.uint64(angles - 1 - up)  # unsigned: needs no test for a negative index
        s[up], product = product, product * sine[up]
        after[down], total = total, total * sine[down] + g[down] * cosine[down]


@lazy_jit
def _sine_cosine(theta, sine, cosine):
    """sin θ and cos θ of one row, as precise as its dtype needs."""
    theta = _moderate(theta)
    if theta.itemsize == 4:
        _sine_cosine_single(theta, sine, cosine)
    else:
        _sine_cosine_double(theta, sine, cosine)


@lazy_jit
def _moderate(theta):
    """Angles up to `LARGEST_ANGLE` with the same sines and cosines as theta (K,)."""
    large = 0
    for k in range(theta.size):
        large += abs(theta[k]) > LARGEST_ANGLE
    if not large:
        return theta
    moderate = theta.copy()
    for k in range(theta.size):
        if abs(theta[k]) > LARGEST_ANGLE:
            angle = np.float64(theta[k])
            moderate[k] = np.arctan2(np.sin(angle), np.cos(angle))
    return moderate


@lazy_jit(fastmath={"contract"})
def _sine_cosine_single(theta, sine, cosine):
    """For float32 angles: sin θ to a relative 1e-13, for products of many sines; cos θ to 4e-8.

    Let m be the whole number nearest to θ/π. Then r = θ − mπ (with π in two parts) is within ±π/2.
    With z = r², sin θ = ± r (1 + z P(z)) and cos θ = ± (π²/4 − z) Q(z), where the sign is minus for
    odd m. P and Q are minimax polynomials (Remez's algorithm). Adding 1.5 · 2⁵² rounds to a whole
    number and leaves it in the lowest bits, and the last bit goes into the signs. r has an error of
    about 1e-16, which matters near zeros of cos θ: 4e-8 is the worst case for a float32 angle.
    """
    for k in range(theta.size):
        angle = np.float64(theta[k])
        shifted = angle * 0.3183098861837907 + 6755399441055744.0  # angle / π + 1.5 · 2⁵²
        m = shifted - 6755399441055744.0
        sign = np.float64(shifted).view(np.int64) << 63
        r = angle - m * 3.1415926534682512 - m * 1.2154201013012384e-10
        r = np.int64(np.float64(r).view(np.int64) ^ sign).view(np.float64)
        z = r * r
        p = 2.755695311615269e-06 + z * (-2.5030197062374103e-08 + z * 1.5409530375691586e-10)
        p = 0.008333333321087507 + z * (-0.00019841266729769426 + z * p)
        p = -0.1666666666650461 + z * p
        q = -2.4106844560536275e-05 + z * 2.5792418289247785e-07
        q = -0.03838664346522091 + z * (0.0013293157171906692 + z * q)
        q = 0.40528473417146843 + z * q
        factor = 2.4674011002723395 - z  # π²/4 − z
        factor = np.int64(np.float64(factor).view(np.int64) ^ sign).view(np.float64)
        sine[k] = r + r * z * p
        cosine[k] = factor * q


@lazy_jit(fastmath={"contract"})
def _sine_cosine_double(theta, sine, cosine):
    """For float64 angles: sin θ and cos θ correct to about 2e-16.

    With q the nearest multiple of π/2, in three parts (Cody & Waite 1980), r = θ − q is within
    ±π/4. The two polynomials are those of fdlibm (k_sin.c, k_cos.c; Sun Microsystems 1993). Terms
    are paired (Estrin's scheme), because the processor can compute both of a pair at once.
    """
    for k in range(theta.size):
        angle = np.float64(theta[k])
        quarters = np.rint(angle * 0.6366197723675814)  # angle / (π/2)
        r = angle - quarters * 1.57079632673412561417
        r = r - quarters * 6.07710050630396597660e-11 - quarters * 2.02226624879595063154e-21
        z = r * r
        w = z * z
        s = (-1.66666666666666324348e-01 + z * 8.33333333332248946124e-03) + w * (
            (-1.98412698298579493134e-04 + z * 2.75573137070700676789e-06)
            + w * (-2.50507602534068634195e-08 + z * 1.58969099521155010221e-10)
        )
        s = r + r * z * s
        c = (4.16666666666666019037e-02 - z * 1.38888888888741095749e-03) + w * (
            (2.48015872894767294178e-05 - z * 2.75573143513906633035e-07)
            + w * (2.08757232129817482790e-09 - z * 1.13596475577881948265e-11)
        )
        c = 1.0 - 0.5 * z + w * c
        n = np.int64(quarters)
        first, second = (c, s) if n & 1 else (s, c)
        sine[k] = -first if n & 2 else first
        cosine[k] = -second if (n + 1) & 2 else second
