"""Matrix products, and the rows of weights under each parameterization.

g = ∂L/∂y is the gradient of the result; the arrow points to the gradients of the inputs.
"""

import numpy as np

from geonet.kernels import activation
from geonet.kernels import hypersphere as kernel
from geonet.kernels.outer import outer
from geonet.tensor import primitive

__all__ = [
    "centred_scaled_relu",
    "hyperspherical",
    "linear",
    "matmul",
    "scaled_relu",
    "weight_norm",
]


def _matrices(rng):
    shapes = [((3, 4), (4, 2)), ((4,), (4,)), ((4,), (4, 2)), ((3, 4), (4,))]
    batched = [((5, 3, 4), (4, 2)), ((5, 1, 3, 4), (2, 4, 2)), ((4,), (5, 4, 2)), ((5, 3, 4), (4,))]
    return [((rng.normal(size=a), rng.normal(size=b)), {}) for a, b in shapes + batched]


@primitive(samples=_matrices)
def matmul(x, y):
    """Matrix product x y with leading batch dimensions, as in NumPy. g → g yᵀ, xᵀ g."""
    if x.shape[-1:] != y.shape[-2:][:1] or not x.ndim:
        raise ValueError(
            f"matmul: x has shape {x.shape} and y has shape {y.shape}, but inner sizes must agree"
        )
    vector_x, vector_y = x.ndim == 1, y.ndim == 1
    rows = x[None, :] if vector_x else x  # (..., N, k)
    columns = y[:, None] if vector_y else y  # (..., k, M)

    def as_matrix(g):  # the gradient with an axis of length 1 for each vector
        g = g[..., None] if vector_y else g
        return g[..., None, :] if vector_x else g

    def to_x(g):
        gradient = as_matrix(g) @ columns.swapaxes(-1, -2)
        return gradient[..., 0, :] if vector_x else gradient

    def to_y(g):
        gradient = rows.swapaxes(-1, -2) @ as_matrix(g)
        return gradient[..., 0] if vector_y else gradient

    return x @ y, (to_x, to_y)


def _affine_maps(rng):
    x, weight, bias = rng.normal(size=(5, 3)), rng.normal(size=(2, 3)), rng.normal(size=2)
    return [((x, weight, bias), {}), ((x, weight), {}), ((x.reshape(5, 1, 3), weight, bias), {})]


def _product(x, y):
    """x y (..., O). An inner size of 1 is not left to BLAS, which is slow there."""
    if x.shape[-1] != 1:
        return x @ y
    return outer(x.reshape(-1), y[0]).reshape(*x.shape[:-1], y.shape[1])


def _transposed_product(g, x):
    """gᵀ x for g (N, O) and x (N, n).

    Up to 10⁶ multiplications OpenBLAS uses a kernel that is twice as fast. So tall and thin
    matrices are halved if that makes them small enough.
    """
    tall = len(x) >= 8 * max(g.shape[1], x.shape[1])
    if not tall or not 10**6 < g.size * x.shape[1] <= 2 * 10**6:
        return g.T @ x
    half = len(x) // 2
    return g[:half].T @ x[:half] + g[half:].T @ x[half:]


@primitive(samples=_affine_maps)
def linear(x, weight, bias=None):
    """Affine map of rows, x Wᵀ + b: x (..., n), weight (O, n), bias (O,) -> (..., O).
    g → g W, gᵀ x, g."""
    if x.ndim == 0 or x.shape[-1] != weight.shape[-1]:
        raise ValueError(f"linear: x has shape {x.shape}, but weight {weight.shape} takes "
                         f"{weight.shape[-1]} features")  # fmt: skip
    if bias is not None and bias.shape != weight.shape[:1]:  # (O, 1) would broadcast if N = O
        raise ValueError(f"linear: bias has shape {bias.shape}, but weight {weight.shape} needs "
                         f"{weight.shape[:1]}")  # fmt: skip
    value = _product(x, weight.T)
    if bias is not None:  # in place, unless only the bias is complex
        value = np.add(value, bias, out=value if value.dtype == bias.dtype else None)

    def to_weight(g):
        return _transposed_product(g.reshape(-1, weight.shape[0]), x.reshape(-1, weight.shape[1]))

    return value, (lambda g: _product(g, weight), to_weight, lambda g: g)


@primitive(samples=lambda rng: [((rng.normal(size=(3, 4)), rng.normal(size=3)), {})])
def weight_norm(v, length):
    """Rows ℓ v/‖v‖ (Salimans & Kingma 2016, eq. 2): v (O, n), length (O,) -> (O, n).
    With u = v/‖v‖: g → (ℓ/‖v‖) (g − (g·u) u), which is orthogonal to v, and g·u."""
    if v.ndim != 2 or length.shape != v.shape[:1]:
        raise ValueError(f"weight_norm: v has shape {v.shape}, so length must have {v.shape[:1]}, "
                         f"not {length.shape}")  # fmt: skip
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
    if theta.ndim != 2 or theta.dtype not in (np.float32, np.float64, np.complex128):
        raise ValueError(f"hyperspherical: theta must be float32 or float64 of shape (O, n-1), but "
                         f"is {theta.dtype} of shape {theta.shape}")  # fmt: skip
    return kernel.direction(theta), (lambda g: kernel.direction_pullback(g, theta),)


def _scaled_relus(rng):
    bias, scale = rng.normal(size=(2, 3))
    inputs = [rng.normal(size=shape) for shape in ((5, 3), (2, 2, 3))]
    return [((z, bias, scale), {}) for z in inputs] + [((z, bias), {}) for z in inputs]


@primitive(samples=_scaled_relus)
def scaled_relu(z, bias, scale=None):
    """Bias, rectifier and scale in one pass, r max(z + b, 0): z (..., O), bias and scale (O,).
    Without scale, r = 1. With a = 1 where z + b > 0, else 0: g → g r a, Σ g r a, Σ g a (z + b)."""
    plain = scale is None
    scale = np.ones_like(bias) if plain else scale
    if not z.ndim or not z.shape[-1:] == bias.shape == scale.shape:  # compiled loops do not check
        raise ValueError(f"scaled_relu: z has shape {z.shape}, so bias {bias.shape} and scale "
                         f"{scale.shape} must have {z.shape[-1:]}")  # fmt: skip
    rows, shape = z.reshape(-1, z.shape[-1]), z.shape
    value = activation.scaled_relu(rows, bias, scale)
    # y > 0 where z + b > 0, so without a scale y can replace z + b, and z is not kept
    saved = (value, np.zeros_like(bias), scale) if plain else (rows, bias, scale)

    def pullback(g, needs):
        to_z, *others = activation.scaled_relu_pullback(g.reshape(saved[0].shape), *saved)
        return to_z.reshape(shape), *others

    return value.reshape(shape), pullback


@primitive(samples=lambda rng: [(inputs, {}) for inputs, _ in _scaled_relus(rng)[:2]])
def centred_scaled_relu(z, bias, scale, mean=None):
    """`scaled_relu` minus its mean over all axes but the last, y − mean y with y = r max(z + b, 0),
    in fewer passes over memory. With γ = g − mean g: g → γ r a, Σ γ r a, Σ γ a (z + b). The
    subtracted mean is written to `mean` (O,), if it is given."""
    if not z.ndim or not z.size or not z.shape[-1:] == bias.shape == scale.shape:
        raise ValueError(f"centred_scaled_relu: z has shape {z.shape}, so bias {bias.shape} and "
                         f"scale {scale.shape} must have {z.shape[-1:]}, and no 0")  # fmt: skip
    rows = z.reshape(-1, z.shape[-1])
    value, taken = activation.centred_scaled_relu(rows, bias, scale)
    if mean is not None:
        mean[...] = taken.real

    def pullback(g, needs):
        g = g.reshape(rows.shape)
        to_z, *others = activation.centred_scaled_relu_pullback(g, rows, bias, scale)
        return to_z.reshape(z.shape), *others

    return value.reshape(z.shape), pullback
