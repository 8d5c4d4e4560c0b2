"""The direction u(θ) of a unit and its pullback, for O units of n inputs, in O(n) per unit.

    theta (O, n−1)   angles, unconstrained           s_k = ∏_{j<k} sin θ_j,  s_1 = 1
    u     (O, n)     unit rows                       u_k = s_k cos θ_k,      u_n = s_n
    g     (O, n)     ∂L/∂u                           A_n = g_n,  A_k = g_k cos θ_k + A_{k+1} sin θ_k
    grad  (O, n−1)   ∂L/∂θ                           grad_k = s_k (A_{k+1} cos θ_k − g_k sin θ_k)

There is no division, so the pullback is exact at the poles, where some sin θ_k = 0.

Sines, products and sums are float64 for every dtype of theta. A sine rounded to float32 has an
error of about 1e-7, and the product of thousands of them would drift. The pullback computes sine
and cosine again, which takes no longer here than loading them from memory.

A large matrix is read from memory and written back. The recurrences leave the processor idle time,
in which it fetches what the next loops need (`prefetch`). This saves a third of the time.
"""

import numpy as np

from geonet import threads
from geonet.kernels import reference
from geonet.kernels.switch import equal_to, lazy_jit, prefetch

LARGEST_ANGLE = 1e6  # up to which `_sine_cosine` is accurate
ONE_THREAD = 2**15  # angles; for fewer, a second thread does not pay


@equal_to(reference.direction, arrays=1)
def direction(theta):
    """Unit rows u (O, n) of the angles theta (O, n−1)."""
    u = np.empty((theta.shape[0], theta.shape[1] + 1), theta.dtype)

    def some_units(first, last):
        _forward(np.ascontiguousarray(theta[first:last]), u[first:last])

    threads.parallel_for(some_units, _shares(theta))
    return u


@equal_to(reference.direction_pullback, arrays=2)
def direction_pullback(g, theta):
    """∂L/∂θ (O, n−1) for g = ∂L/∂u (O, n)."""
    grad = np.empty(theta.shape, theta.dtype)

    def some_units(first, last):
        rows = np.ascontiguousarray(g[first:last], theta.dtype)
        _backward(rows, np.ascontiguousarray(theta[first:last]), grad[first:last])

    threads.parallel_for(some_units, _shares(theta))
    return grad


def _shares(theta):
    """Ranges of rows for the threads; a single range if there are few angles."""
    units = theta.shape[0]
    return threads.shares(units) if theta.size > ONE_THREAD else [(0, units)]


@lazy_jit
def _moderate(theta, room):
    """Angles up to `LARGEST_ANGLE` with the same sines and cosines as theta (K,).

    This is theta itself if no angle is larger. Otherwise it is `room` (K,), with those replaced.
    """
    large = 0
    for k in range(theta.size):
        large += abs(theta[k]) > LARGEST_ANGLE
    if not large:
        return theta
    for k in range(theta.size):
        angle = np.float64(theta[k])
        replaced = np.arctan2(np.sin(angle), np.cos(angle))
        room[k] = replaced if abs(angle) > LARGEST_ANGLE else angle
    return room


@lazy_jit
def _sine_cosine(theta, sine, cosine):
    """sin θ and cos θ of one row, with θ up to `LARGEST_ANGLE`, as precise as its dtype needs."""
    if theta.itemsize == 4:
        _sine_cosine_single(theta, sine, cosine)
    else:
        _sine_cosine_double(theta, sine, cosine)


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


@lazy_jit(fastmath={"contract"})
def _forward(theta, u):
    """Compute u, four units at a time.

    A step of a recurrence waits for the step before it, so a single unit would leave the processor
    mostly idle. If fewer than four units are left, the last one is repeated.
    """
    units, angles = theta.shape
    s, cosine = np.empty((4, angles + 1)), np.empty((4, angles), theta.dtype)
    room = np.empty(angles, theta.dtype)
    for first in range(0, units, 4):
        for row in range(4):
            _sine_cosine(_moderate(theta[min(first + row, units - 1)], room), s[row], cosine[row])
        _four_products(s[0], s[1], s[2], s[3], u[first], theta[min(first + 4, units - 1)])
        for row in range(4):
            _components(s[row], cosine[row], u[min(first + row, units - 1)])


@lazy_jit(fastmath={"contract"})
def _four_products(s_h, s_i, s_j, s_m, u, theta):
    """Replace sin θ_k, k < n, by the products s_k, k ≤ n, of four units.

    Also prefetch four rows of the contiguous matrices u and theta, from these rows on.
    """
    h = i = j = m = 1.0
    last = s_h.size - 1
    for k in range(last):
        prefetch(u, 4 * k)
        prefetch(theta, 4 * k)
        s_h[k], h = h, h * s_h[k]
        s_i[k], i = i, i * s_i[k]
        s_j[k], j = j, j * s_j[k]
        s_m[k], m = m, m * s_m[k]
    s_h[last], s_i[last], s_j[last], s_m[last] = h, i, j, m


@lazy_jit(fastmath={"contract"})
def _components(s, cosine, u):
    for k in range(cosine.size):
        u[k] = s[k] * cosine[k]
    u[cosine.size] = s[cosine.size]


@lazy_jit(fastmath={"contract"})
def _backward(g, theta, grad):
    """Compute grad for pairs of units, as in `_forward`; s_k runs up the row and A_k down."""
    units, angles = theta.shape
    sine, shape = np.empty((2, angles)), (2, angles)
    cosine, suffix = np.empty(shape, theta.dtype), np.empty(shape, theta.dtype)
    s, room = np.empty(shape, theta.dtype), np.empty(angles, theta.dtype)
    for i in range(0, units, 2):
        pair = (i, min(i + 1, units - 1))
        for row in range(2):
            _sine_cosine(_moderate(theta[pair[row]], room), sine[row], cosine[row])
            _multiply(g[pair[row]], cosine[row], suffix[row])
        a_i, a_j = np.float64(g[pair[0], angles]), np.float64(g[pair[1], angles])  # A_n
        after = min(i + 2, units - 1)
        fetched = (grad[i], g[after], theta[after])
        _two_scans(sine[0], sine[1], s[0], s[1], suffix[0], suffix[1], a_i, a_j, fetched)
        for row in range(2):
            unit = pair[row]
            _turn(s[row], suffix[row], sine[row], cosine[row], g[unit], grad[unit])


@lazy_jit(fastmath={"contract"})
def _multiply(g, cosine, product):
    for k in range(product.size):
        product[k] = g[k] * cosine[k]


@lazy_jit(fastmath={"contract"})
def _two_scans(sine_i, sine_j, s_i, s_j, suffix_i, suffix_j, a_i, a_j, fetched):
    """Compute s_k of two units, and replace g_k cos θ_k by their A_{k+1}; A_n is given.

    Also prefetch two rows from each row in `fetched` on.
    """
    grad, g, theta = fetched
    p_i = p_j = 1.0
    for k in range(sine_i.size):
        prefetch(grad, 2 * k)
        prefetch(g, 2 * k)
        prefetch(theta, 2 * k)
        s_i[k], s_j[k] = p_i, p_j
        p_i, p_j = p_i * sine_i[k], p_j * sine_j[k]
        m = np.uint64(sine_i.size - 1 - k)  # unsigned: needs no test for a negative index
        suffix_i[m], a_i = a_i, a_i * sine_i[m] + suffix_i[m]
        suffix_j[m], a_j = a_j, a_j * sine_j[m] + suffix_j[m]


@lazy_jit(fastmath={"contract"})
def _turn(s, suffix, sine, cosine, g, grad):
    for k in range(grad.size):
        grad[k] = s[k] * (suffix[k] * cosine[k] - g[k] * sine[k])
