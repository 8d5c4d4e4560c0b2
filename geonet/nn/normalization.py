"""Normalization layers. Features are last; all other axes count as the batch.

Each has two methods for the analysis. `fold` gives the boundary of an affine map that this layer
follows. `turn_bound` gives the largest turn of that boundary, from the largest turn of the rows.
"""

import numpy as np

from geonet import ops
from geonet.nn.module import Module, Parameter


def check_features(x, features):
    """Refuse an input whose last axis does not have this number of features."""
    if x.shape[-1] != features:
        raise ValueError(f"x has shape {x.shape}, but the layer normalizes {features} features")


class NoHyperplane(ValueError):
    """A unit whose zero set is not a hyperplane."""


class BatchNorm(Module):
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
        self.batch_mean = self.batch_var = None  # of the last training batch
        self.eps = eps
        self.momentum = momentum

    def __call__(self, x):
        check_features(x, self.gamma.size)
        if not self.training:
            scale = self.gamma / ops.sqrt(self.running_var + self.eps)
            return (x - self.running_mean) * scale + self.beta
        moments = ops.batch_moments(x)
        self.update_running(*moments)
        return ops.batch_norm(x, self.gamma, self.beta, self.eps, moments)

    def update_running(self, mean, var):
        """Update the running values with those of a batch, which are kept too."""
        self.batch_mean, self.batch_var = mean, var
        for running, batch in ((self.running_mean, mean), (self.running_var, var)):
            running *= self.momentum
            running += (1 - self.momentum) * batch.real  # complex in a complex step

    def fold(self, weight, bias, statistics):
        """sign(γ) · (w, b − μ + σβ/γ); NaN where γ = 0, because there is no boundary."""
        if statistics == "running":
            mean, var = self.running_mean, self.running_var
        elif self.batch_mean is None:
            raise ValueError("statistics='batch' needs a batch to have passed in training mode")
        else:
            mean, var = self.batch_mean, self.batch_var
        gamma = np.where(self.gamma.data == 0, np.nan, self.gamma.data)
        bias = bias - mean + np.sqrt(var + self.eps) * self.beta.data / gamma
        sign = np.sign(gamma.real)  # complex in a complex step
        return sign[:, None] * weight, sign * bias

    def turn_bound(self, bound, change):
        """Largest turn with this layer: that of the rows, or π where γ changes sign."""
        return np.where(self.gamma.data * (self.gamma.data + change["gamma"]) > 0, bound, np.pi)


class MeanNorm(Module):
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
        self.batch_mean = None  # of the last training batch
        self.momentum = momentum

    def __call__(self, x):
        check_features(x, self.running_mean.size)
        if not self.training:
            centred = x - self.running_mean
            return centred if self.shift is None else centred + self.shift
        moments = ops.batch_moments(x, variance=False)
        self.update_running(*moments)
        return ops.centre(x, self.shift, moments)

    def update_running(self, mean):
        """Update the running mean with that of a batch, which is kept too."""
        self.batch_mean = mean
        self.running_mean *= self.momentum
        self.running_mean += (1 - self.momentum) * mean.real

    def fold(self, weight, bias, statistics):
        """(w, b − μ + shift)."""
        mean = self.running_mean if statistics == "running" else self.batch_mean
        if mean is None:
            raise ValueError("statistics='batch' needs a batch to have passed in training mode")
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
        check_features(x, self.gamma.size)
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
