"""Activations, alone and together with what a layer does around them.

g = ∂L/∂y is the gradient of the result; the arrow shows what the pullback makes of it.
"""

import numpy as np

from geonet.kernels import activation as kernel
from geonet.ops.normalization import _by_rows, _rows
from geonet.tensor import primitive


@primitive
def relu(x):
    """Rectifier, max(x, 0). g → g where x > 0, else 0."""
    value = kernel.relu(x)
    return value, (lambda g: kernel.relu_pullback(g, value),)


@primitive(samples=lambda rng: [((rng.normal(size=(3, 4)),), {"slope": 0.2})])
def leaky_relu(x, slope=0.01):
    """x where x > 0, else slope · x. g → g times 1 or the slope."""
    positive = np.real(x) > 0
    return np.where(positive, x, slope * x), (lambda g: np.where(positive, g, slope * g),)


def _sigmoid(x):
    """1 / (1 + e⁻ˣ) for x > 0 and eˣ / (1 + eˣ) below, so that nothing overflows or cancels."""
    positive = np.real(x) > 0
    decay = np.exp(np.where(positive, -x, x))  # e^−|x|
    return np.where(positive, 1, decay) / (1 + decay)


@primitive
def sigmoid(x):
    """Logistic function, y = 1 / (1 + e⁻ˣ). g → g y (1 − y)."""
    value = _sigmoid(x)
    return value, (lambda g: g * value * (1 - value),)


def _softplus(x):
    """ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|)."""
    positive = np.real(x) > 0
    return np.where(positive, x, 0) + np.log1p(np.exp(np.where(positive, -x, x)))


@primitive
def softplus(x):
    """ln(1 + eˣ), as max(x, 0) + ln(1 + e^−|x|). g → g sigmoid(x)."""
    return _softplus(x), (lambda g: g * _sigmoid(x),)


def _log_softmax(x, axis):
    if not x.size:  # of nothing there is no maximum
        return x
    shifted = x - np.real(x).max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


@primitive
def log_softmax(x, axis=-1):
    """Logarithm of the softmax, x − ln Σ eˣ along an axis, shifted by the maximum.
    g → g − softmax(x) Σ g."""
    value = _log_softmax(x, axis)
    return value, (lambda g: g - np.exp(value) * g.sum(axis=axis, keepdims=True),)


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
    rows = _rows("scaled_relu", z, empty=True, bias=bias, scale=scale)
    value = kernel.scaled_relu(rows, bias, scale)
    # y > 0 where z + b > 0, so without a scale y can replace z + b, and z is not kept
    saved = (value, np.zeros_like(bias), scale) if plain else (rows, bias, scale)
    return _by_rows(z.shape, value, kernel.scaled_relu_pullback, *saved)


@primitive(samples=_scaled_relus)
def centred_scaled_relu(z, bias, scale=None, mean=None):
    """`scaled_relu` minus its mean over all axes but the last, y − mean y with y = r max(z + b, 0),
    in fewer passes over memory. With γ = g − mean g: g → γ r a, Σ γ r a, Σ γ a (z + b). The
    subtracted mean is written to `mean` (O,), if it is given."""
    scale = np.ones_like(bias) if scale is None else scale
    rows = _rows("centred_scaled_relu", z, bias=bias, scale=scale)
    value, taken = kernel.centred_scaled_relu(rows, bias, scale)
    if mean is not None:
        mean[...] = taken.real
    return _by_rows(z.shape, value, kernel.centred_scaled_relu_pullback, rows, bias, scale)
