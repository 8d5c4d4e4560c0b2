"""Losses: means over all entries, stable for logits of any size.

g = ∂L/∂y is the gradient of the result; the arrow points to the gradients of the inputs.
"""

import numpy as np

from geonet.ops.activations import _log_softmax, _sigmoid, _softplus
from geonet.tensor import as_given, exact, primitive


def _pair(rng):
    return [(tuple(rng.normal(size=(2, 5, 3))), {})]


def _same_shape(loss, prediction, target):
    shape, other = getattr(prediction, "shape", ()), getattr(target, "shape", ())
    if shape != other:  # (N, 1) and (N,) would broadcast to (N, N)
        raise ValueError(f"{loss}: prediction has shape {shape}, but target has shape {other}")


@primitive(samples=_pair)
def mse(prediction, target):
    """Mean squared error, mean (p − t)². g → 2 g (p − t) / count, and its negative."""
    _same_shape("mse", prediction, target)
    error = np.subtract(prediction, target, dtype=np.result_type(prediction, target, np.float16))
    scaled = 2 * error / error.size
    return (error * error).mean(), (lambda g: g * scaled, lambda g: -g * scaled)


@primitive(samples=_pair)
def mae(prediction, target):
    """Mean absolute error, mean |p − t|. g → g sign(p − t) / count (0 at 0), and its negative."""
    _same_shape("mae", prediction, target)
    error = prediction - target
    sign = np.sign(error.real)
    value = np.vdot(sign, error) / error.size
    return value, (lambda g: g / sign.size * sign, lambda g: -g / sign.size * sign)


def _logits(rng):
    logits, labels = rng.normal(size=(5, 3)), rng.integers(0, 3, 5)
    return [((logits, labels), {}), ((logits, labels), {"smoothing": 0.1})]


@as_given(samples=_logits)
def cross_entropy(logits, labels, smoothing=0.0):
    """Mean of −q·log softmax(logits): logits (N, C), integer labels (N,).

    q = (1 − ε) one-hot + ε/C, where the share ε = `smoothing` in [0, 1] is divided equally among
    all classes (Szegedy et al. 2016, section 7). g → g (softmax − q) / N."""
    (logits,), labels = exact(logits), np.asarray(labels)
    if not 0 <= smoothing <= 1:
        raise ValueError(f"cross_entropy: smoothing must be in [0, 1], but is {smoothing}")
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(f"cross_entropy: logits {logits.shape} need integer labels of shape "
                         f"{logits.shape[:1]}, not {labels.dtype} {labels.shape}")  # fmt: skip
    if labels.size and not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        raise ValueError(f"cross_entropy: labels must be in 0…{logits.shape[1] - 1}, "
                         f"but go from {labels.min()} to {labels.max()}")  # fmt: skip
    log_probability = _log_softmax(logits, axis=1)
    rows = np.arange(len(labels))

    def pullback(g):
        gradient = np.exp(log_probability)
        gradient[rows, labels] -= 1 - smoothing
        if smoothing:
            gradient -= smoothing / logits.shape[1]
        return gradient * (g / len(labels))

    loss = -log_probability[rows, labels].mean()
    if smoothing:  # otherwise 0 · ln 0 would give NaN
        loss = (1 - smoothing) * loss - smoothing * log_probability.mean()
    return loss, (pullback,)


@primitive(samples=lambda rng: [((rng.normal(size=(5, 1)), rng.random((5, 1))), {})])
def binary_cross_entropy(logits, targets):
    """Mean of ln(1 + eᶻ) − t z for logits z and targets t in [0, 1], of the same shape.
    g → g (sigmoid(z) − t) / count, −g z / count."""
    _same_shape("binary_cross_entropy", logits, targets)

    def to_logits(g):
        return g * (_sigmoid(logits) - targets) / logits.size

    value = (_softplus(logits) - targets * logits).mean()
    return value, (to_logits, lambda g: -g / logits.size * logits)
