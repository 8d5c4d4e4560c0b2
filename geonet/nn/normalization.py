"""Normalization layers. Features are last; all other axes count as the batch.

Each has two methods for the analysis. `fold` gives the boundary of an affine map that this layer
follows. `turn_bound` gives the largest turn of that boundary, from the largest turn of the rows.
"""

import numpy as np

from geonet import ops
from geonet.nn.module import Module, Parameter
from geonet.tensor import Tensor


def check_features(x, features):
    """x as a Tensor; refused if its last axis does not have this number of features."""
    x = x if isinstance(x, Tensor) else Tensor(x)
    if x.shape[-1:] != (features,):
        raise ValueError(f"x has shape {x.shape}, but the layer normalizes {features} features")
    return x


class NoHyperplane(ValueError):
    """A unit whose zero set is not a hyperplane."""


class BatchStatistics(Module):
    """What norms over the batch share: running moments, of which `buffers` has the names.

    Evaluation uses running values, new = momentum · old + (1 − momentum) · batch.
    """

    transient = ("batch_mean", "batch_var")
    running_var = None
    batch_mean = batch_var = None  # of the last training batch

    def update_running(self, mean, var=None):
        """Update the running values with those of a batch, which are kept too."""
        self.batch_mean, self.batch_var = mean, var
        for name, batch in zip(self.buffers, (mean, var)):
            running = getattr(self, name)
            # an error for a number or a Tensor, which `*=` would replace by another
            np.multiply(running, self.momentum, out=running)
            running += (1 - self.momentum) * batch.real  # complex in a complex step

    def moments(self, statistics):
        """Mean and variance, if there is one: the "running" ones or those of the last "batch"."""
        if statistics == "running":
            return self.running_mean, self.running_var
        if self.batch_mean is None:
            raise ValueError("statistics='batch' needs a batch to have passed in training mode")
        return self.batch_mean, self.batch_var


class BatchNorm(BatchStatistics):
    """γ (x − μ)/σ + β with μ and σ = √(var + eps) over the batch (Ioffe & Szegedy 2015).

    Evaluation uses running values, new = momentum · old + (1 − momentum) · batch, with the biased
    variance in both, as in Keras.

    Parameters
    ----------
    features : int
        Length of the last axis.
    eps : float
        Added to the variance.
    momentum : float
        Weight of the old running value.
    dtype : numpy.dtype
    """

    buffers = ("running_mean", "running_var")

    def __init__(self, features, eps=1e-3, momentum=0.99, dtype=np.float64):
        self.gamma = Parameter(np.ones(features, dtype))
        self.beta = Parameter(np.zeros(features, dtype))
        self.running_mean = np.zeros(features, dtype)
        self.running_var = np.ones(features, dtype)
        self.eps = eps
        self.momentum = momentum

    def __call__(self, x):
        x = check_features(x, self.gamma.size)
        if not self.training:
            scale = self.gamma / ops.sqrt(self.running_var + self.eps)
            return (x - self.running_mean) * scale + self.beta
        moments = ops.batch_moments(x)
        self.update_running(*moments)
        return ops.batch_norm(x, self.gamma, self.beta, self.eps, moments)

    def fold(self, weight, bias, statistics):
        """sign(γ) · (w, b − μ + σβ/γ); NaN where γ = 0, because there is no boundary."""
        mean, var = self.moments(statistics)
        gamma = np.where(self.gamma.data == 0, np.nan, self.gamma.data)
        bias = bias - mean + np.sqrt(var + self.eps) * self.beta.data / gamma
        sign = np.sign(gamma.real)  # complex in a complex step
        return sign[:, None] * weight, sign * bias

    def turn_bound(self, bound, change):
        """Largest turn with this layer: that of the rows, or π where γ changes sign."""
        return np.where(self.gamma.data * (self.gamma.data + change["gamma"]) > 0, bound, np.pi)


class MeanNorm(BatchStatistics):
    """x − μ, with μ over the batch: mean-only batch normalization, and the centring of IMN.

    Parameters
    ----------
    features : int
    momentum : float
        As for `BatchNorm`.
    shift : bool
        Whether a bias follows, x − μ + b (Salimans & Kingma 2016, section 2.3).
    dtype : numpy.dtype
    """

    buffers = ("running_mean",)

    def __init__(self, features, momentum=0.99, shift=False, dtype=np.float64):
        self.shift = Parameter(np.zeros(features, dtype)) if shift else None
        self.running_mean = np.zeros(features, dtype)
        self.momentum = momentum

    def __call__(self, x):
        x = check_features(x, self.running_mean.size)
        if not self.training:
            centred = x - self.running_mean
            return centred if self.shift is None else centred + self.shift
        moments = ops.batch_moments(x, variance=False)
        self.update_running(*moments)
        return ops.centre(x, self.shift, moments)

    def fold(self, weight, bias, statistics):
        """(w, b − μ + shift)."""
        mean, _ = self.moments(statistics)
        return weight, bias - mean + (0 if self.shift is None else self.shift.data)

    def turn_bound(self, bound, change):
        """Largest turn with this layer: that of the rows."""
        return bound


class LayerNorm(Module):
    """γ (x − μ)/σ + β with μ and σ = √(var + eps) over the features of one input (Ba et al. 2016).

    Parameters
    ----------
    features : int
    eps : float
        Added to the variance.
    dtype : numpy.dtype
    """

    def __init__(self, features, eps=1e-3, dtype=np.float64):
        self.gamma = Parameter(np.ones(features, dtype))
        self.beta = Parameter(np.zeros(features, dtype))
        self.eps = eps

    def __call__(self, x):
        x = check_features(x, self.gamma.size)
        return ops.layer_norm(x, self.gamma, self.beta, self.eps)

    def fold(self, weight, bias, statistics):
        """sign(γ) · (w, b) centred over the units of the layer, where β = 0; NaN where γ = 0.

        Raises
        ------
        NoHyperplane
            If some β ≠ 0. Then the zero set depends on σ(x) and is not a hyperplane.
        """
        if np.any(self.beta.data != 0):
            unit = np.flatnonzero(self.beta.data)[0]
            raise NoHyperplane(f"the boundary of unit {unit} is not a hyperplane: under layer norm "
                               "with β ≠ 0 its offset depends on the input")  # fmt: skip
        sign = np.sign(np.where(self.gamma.data == 0, np.nan, self.gamma.data))
        return sign[:, None] * (weight - weight.mean(axis=0)), sign * (bias - bias.mean())

    def turn_bound(self, bound, change):
        """π: the rows are centred over the units, so each depends on the noise of all others."""
        return np.full_like(bound, np.pi)
