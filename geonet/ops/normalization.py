"""Normalization over the batch or over the features. The last axis has the C features.

g = ∂L/∂y is the gradient of the result; the arrow points to the gradients of the inputs.
"""

import numpy as np

from geonet.kernels import normalization as kernel
from geonet.tensor import Tensor, primitive


def _rows(operation, x, moments=None, empty=False, **features):
    """x as a matrix (N, C), after checking that all other arrays are (C,): kernels do not check.
    There must be rows, unless they may be `empty`, and features."""
    if not x.ndim or not (x.size or (empty and x.shape[-1])):
        raise ValueError(f"{operation}: the input must have entries and a last axis of features, "
                         f"but has shape {x.shape}")  # fmt: skip
    if moments is not None:
        features.update(zip(("the mean", "the variance"), moments))
    for name, array in features.items():
        if array is not None and array.shape != x.shape[-1:]:
            raise ValueError(f"{operation}: the input has shape {x.shape}, so {name} must have "
                             f"{x.shape[-1:]}, but has {array.shape}")  # fmt: skip
    return x.reshape(-1, x.shape[-1])


def _by_rows(shape, value, pull_back, *saved):
    """Value and pullback of an operation on an x of this shape, from its value (N, C) on the rows
    of x and a function of the rows of g and what was saved, which gives the gradients of the rows
    and of all other inputs."""

    def pullback(g, needs):
        to_rows, *others = pull_back(g.reshape(-1, shape[-1]), *saved)
        return to_rows.reshape(shape), *others

    return value.reshape(shape), pullback


def batch_moments(x, variance=True):
    """Mean and, if wanted, (biased) variance over all axes but the last: a tuple of plain arrays
    (C,), in float64. They are for running statistics, and for the operations below, which then need
    not compute them again."""
    rows = _rows("batch_moments", x.data if isinstance(x, Tensor) else x)
    return kernel.moments(rows) if variance else (kernel.mean(rows),)


def _samples(rng, count):
    shapes = (5, 3), (2, 2, 4, 3)
    return [(rng.normal(size=shape), *rng.normal(size=(count, 3))) for shape in shapes]


@primitive(samples=lambda rng: [((*arrays, 0.1), {}) for arrays in _samples(rng, 2)])
def batch_norm(x, gamma, beta, eps, moments=None):
    """y = γ x̂ + β, x̂ = (x − μ)/σ, σ = √(var + eps), with the mean μ and var over all axes but the
    last (Ioffe & Szegedy 2015): x (..., C), gamma and beta (C,). `moments` are those of x from
    `batch_moments`, if they are already known. With μ and σ depending on x,
    g → (γ/σ) (g − mean g − x̂ mean(g x̂)), Σ g x̂, Σ g."""
    rows = _rows("batch_norm", x, moments, gamma=gamma, beta=beta)
    mean, var = kernel.moments(rows) if moments is None else moments
    value = kernel.affine(rows, mean, gamma / np.sqrt(var + eps), beta)
    return _by_rows(x.shape, value, kernel.batch_norm_pullback, rows, mean, var, gamma, eps)


@primitive(samples=lambda rng: [(a[:n], {}) for n in (1, 2) for a in _samples(rng, 1)])
def centre(x, shift=None, moments=None):
    """x − μ + b with the mean μ over all axes but the last: x (..., C), shift b (C,) or none.
    `moments` are those of x from `batch_moments` (the mean is enough), if they are already known.
    g → g − mean g, Σ g."""
    rows = _rows("centre", x, moments, shift=shift)
    mean = kernel.mean(rows) if moments is None else moments[0]
    one, zero = np.ones(rows.shape[1]), np.zeros(rows.shape[1], x.dtype)

    def pull_back(g):  # which keeps nothing of x
        level = kernel.mean(g)
        return kernel.affine(g, level, one, zero), len(g) * level

    value = kernel.affine(rows, mean, one, zero if shift is None else shift)
    return _by_rows(x.shape, value, pull_back)


@primitive(samples=lambda rng: [((*arrays, 0.1), {}) for arrays in _samples(rng, 2)])
def layer_norm(x, gamma, beta, eps):
    """y = γ x̂ + β, x̂ = (x − μ)/σ, σ = √(var + eps), with the mean μ and var over the last axis
    (Ba et al. 2016): x (..., C), gamma and beta (C,). With h = γ g and means over the last axis:
    g → (h − mean h − x̂ mean(h x̂))/σ, Σ g x̂, Σ g."""
    rows = _rows("layer_norm", x, empty=True, gamma=gamma, beta=beta)
    value = kernel.layer_norm(rows, gamma, beta, eps)
    return _by_rows(x.shape, value, kernel.layer_norm_pullback, rows, gamma, eps)
