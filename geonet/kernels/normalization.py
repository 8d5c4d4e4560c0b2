"""Normalization of the columns or the rows of a matrix, in as few passes over memory as possible.

    x, y, g, grad  (N, C)   features last
    mean, var      (C,)     of the columns, always float64
    gamma, beta    (C,)     γ and β

With x̂ = (x − mean)/√(var + eps), y = γ x̂ + β and g = ∂L/∂y, and with mean and var those of x:
∂L/∂x = (h − mean h − x̂ mean(h x̂))/√(var + eps), where h = γ g;  ∂L/∂γ = Σ g x̂,  ∂L/∂β = Σ g.
Means are over N in batch norm and over C in layer norm. Sums are over N in both.
"""

import numpy as np

from geonet.kernels import reference
from geonet.kernels.blocks import blocks, column_sums, for_blocks
from geonet.kernels.switch import equal_to, lazy_jit
from geonet.threads import parallel_for

STRETCH = 64  # rows that stay in the cache while their mean and then their variance is computed


# Columns ------------------------------------------------------------------------------------------


@equal_to(reference.mean, arrays=1)
def mean(x):
    """Mean of each column, float64 (C,)."""
    return column_sums(1, _sums, x)[0] / len(x)


@equal_to(reference.moments, arrays=1)
def moments(x):
    """Mean and (biased) variance of each column, both float64 (C,).

    Variances of groups of rows, each about its own mean, are combined as in Chan, Golub & LeVeque
    (1983, eq. 2.1). This is accurate even if the mean is large.
    """
    ends = blocks(x)
    parts = np.empty((len(ends), 2, x.shape[1]))  # mean and Σ (x − mean)² of each block
    parallel_for(_moments, [(x, part, *block) for part, block in zip(parts, ends)])
    for part, (first, last) in zip(parts[1:], ends[1:]):
        _join(parts[0], first, *part, last - first)
    return parts[0, 0], parts[0, 1] / len(x)


@equal_to(reference.affine, arrays=4)
def affine(x, mean, scale, shift):
    """(x − mean) · scale + shift for each column, (N, C), computed in float64."""
    y = np.empty_like(x)
    for_blocks(_affine, x, mean, scale, shift, y)
    return y


@equal_to(reference.batch_norm_pullback, arrays=5)
def batch_norm_pullback(g, x, mean, var, gamma, eps):
    """∂L/∂x (N, C), ∂L/∂γ (C,), ∂L/∂β (C,), where mean and var are the `moments` of x."""
    to_beta, to_deviation = column_sums(2, _gradient_sums, x, g, mean)
    inverse_std = 1 / np.sqrt(var + eps)
    to_gamma = to_deviation * inverse_std
    # mean g, then mean(g x̂)/√(var + eps), the factor of x − mean, and γ/√(var + eps)
    coefficients = to_beta / len(x), to_gamma * inverse_std / len(x), gamma * inverse_std
    grad = np.empty_like(x)
    for_blocks(_batch_norm_backward, x, g, mean, *coefficients, grad)
    return grad, to_gamma.astype(x.dtype), to_beta.astype(x.dtype)


@lazy_jit
def _sums(x, sums, first, last):
    for i in range(first, last):
        for k in range(x.shape[1]):
            sums[0, k] += x[i, k]


@lazy_jit
def _join(total, count, mean, squares, more):
    """Combine mean and Σ (x − mean)² of `count` rows, total (2, C), with those of `more` rows."""
    weight = more / (count + more)
    for k in range(mean.size):
        apart = mean[k] - total[0, k]
        total[0, k] += apart * weight
        total[1, k] += squares[k] + apart * apart * count * weight


@lazy_jit
def _moments(x, total, first, last):
    mean, squares = np.empty(x.shape[1]), np.empty(x.shape[1])
    total[:] = 0
    for start in range(first, last, STRETCH):
        end = min(start + STRETCH, last)
        mean[:] = 0
        squares[:] = 0
        for i in range(start, end):
            for k in range(mean.size):
                mean[k] += x[i, k]
        mean /= end - start
        for i in range(start, end):
            for k in range(mean.size):
                deviation = x[i, k] - mean[k]
                squares[k] += deviation * deviation
        _join(total, start - first, mean, squares, end - start)


@lazy_jit
def _affine(x, mean, scale, shift, y, first, last):
    for i in range(first, last):
        for k in range(x.shape[1]):
            y[i, k] = (x[i, k] - mean[k]) * scale[k] + shift[k]


@lazy_jit
def _gradient_sums(x, g, mean, sums, first, last):
    for i in range(first, last):
        for k in range(x.shape[1]):
            sums[0, k] += g[i, k]
            sums[1, k] += g[i, k] * (x[i, k] - mean[k])


@lazy_jit
def _batch_norm_backward(x, g, mean, level, slope, scale, grad, first, last):
    for i in range(first, last):
        for k in range(x.shape[1]):
            grad[i, k] = scale[k] * (g[i, k] - level[k] - slope[k] * (x[i, k] - mean[k]))


# Rows ---------------------------------------------------------------------------------------------


@equal_to(reference.layer_norm, arrays=3)
def layer_norm(x, gamma, beta, eps):
    """y (N, C), with the mean and variance of each row."""
    y = np.empty_like(x)
    for_blocks(_layer_norm, x, gamma, beta, eps, y)
    return y


@equal_to(reference.layer_norm_pullback, arrays=3)
def layer_norm_pullback(g, x, gamma, eps):
    """∂L/∂x (N, C), ∂L/∂γ (C,), ∂L/∂β (C,)."""
    grad = np.empty_like(x)
    sums = column_sums(2, _layer_norm_backward, x, g, gamma, eps, grad)
    return grad, *sums.astype(x.dtype)


# "reassoc" allows a sum along a row to be computed as several partial sums at once
@lazy_jit(fastmath={"reassoc"})
def _row_moments(x, i, eps):
    """Mean and 1/√(var + eps) of row i."""
    features = x.shape[1]
    mean = squares = np.float64(0)
    for k in range(features):
        mean += x[i, k]
    mean /= features
    for k in range(features):
        deviation = x[i, k] - mean
        squares += deviation * deviation
    return mean, 1 / np.sqrt(squares / features + eps)


@lazy_jit
def _layer_norm(x, gamma, beta, eps, y, first, last):
    for i in range(first, last):
        mean, inverse_std = _row_moments(x, i, eps)
        for k in range(x.shape[1]):
            y[i, k] = (x[i, k] - mean) * inverse_std * gamma[k] + beta[k]


@lazy_jit(fastmath={"reassoc"})
def _layer_norm_backward(x, g, gamma, eps, grad, sums, first, last):
    features = x.shape[1]
    for i in range(first, last):
        mean, inverse_std = _row_moments(x, i, eps)
        level = slope = np.float64(0)
        for k in range(features):
            normalized = (x[i, k] - mean) * inverse_std
            h = np.float64(gamma[k]) * g[i, k]
            level += h
            slope += h * normalized
            sums[0, k] += g[i, k] * normalized
            sums[1, k] += g[i, k]
        for k in range(features):
            normalized = (x[i, k] - mean) * inverse_std
            h = np.float64(gamma[k]) * g[i, k]
            grad[i, k] = (h - level / features - normalized * slope / features) * inverse_std
