"""The rows of weights under each parameterization: a length and a direction, or angles.

g = ∂L/∂y is the gradient of the result; the arrow shows what the pullback makes of it.
"""

import numpy as np

from geonet.kernels import directions as kernel
from geonet.tensor import primitive


@primitive(samples=lambda rng: [((rng.normal(size=(3, 4)), rng.normal(size=3)), {})])
def weight_norm(v, length):
    """Rows ℓ v/‖v‖ (Salimans & Kingma 2016, eq. 2): v (O, n), length (O,) -> (O, n).
    With u = v/‖v‖: g → (ℓ/‖v‖) (g − (g·u) u), which is orthogonal to v, and g·u."""
    if v.ndim != 2 or length.shape != v.shape[:1]:
        raise ValueError(f"weight_norm: v must be (O, n) and length (O,), but they have shapes "
                         f"{v.shape} and {length.shape}")  # fmt: skip
    norm = np.sqrt((v * v).sum(axis=1, keepdims=True))
    direction = v / norm

    def to_v(g):
        radial = (g * direction).sum(axis=1, keepdims=True)
        return length[:, None] / norm * (g - radial * direction)

    return length[:, None] * direction, (to_v, lambda g: (g * direction).sum(axis=1))


@primitive(samples=lambda rng: [((rng.normal(size=(2, n - 1)),), {}) for n in (1, 2, 3, 16)])
def hyperspherical(theta):
    """Unit rows u(θ) of hyperspherical angles: θ (O, n−1) -> u (O, n), with sₖ = Πⱼ₌₁ᵏ⁻¹ sin θⱼ:
    uₖ = sₖ cos θₖ, uₙ = sₙ. With Aₙ = gₙ and Aₖ = gₖ cos θₖ + Aₖ₊₁ sin θₖ:
    g → sₖ (Aₖ₊₁ cos θₖ − gₖ sin θₖ), exact at the poles because there is no division."""
    theta = theta.astype(np.float64) if theta.dtype.kind == "i" else theta
    if theta.ndim != 2 or theta.dtype.char not in "fdD":  # in any byte order
        raise ValueError(f"hyperspherical: theta must be float32 or float64 of shape (O, n-1), but "
                         f"is {theta.dtype} of shape {theta.shape}")  # fmt: skip
    return kernel.direction(theta), (lambda g: kernel.direction_pullback(g, theta),)
