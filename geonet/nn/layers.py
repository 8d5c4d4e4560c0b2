"""Layers: an affine map under a parameterization, and the Unit that is a whole hidden layer."""

import numpy as np

from geonet import ops
from geonet.nn.initializers import initial_weight
from geonet.nn.module import Module
from geonet.nn.parameterizations import PARAMETERIZATIONS

ACTIVATIONS = {
    None: lambda x: x,
    "relu": ops.relu,
    "leaky_relu": ops.leaky_relu,
    "sigmoid": ops.sigmoid,
    "tanh": ops.tanh,
    "softplus": ops.softplus,
}


def _choose(argument, name, table):
    if name not in table:
        raise ValueError(f"{argument} must be one of {', '.join(map(str, table))}, but is {name!r}")
    return table[name]


class Linear(Module):
    """Fully connected layer, gain(activation(W x + b)).

    Parameters
    ----------
    fan_in, fan_out : int
        Number of inputs n and of units O.
    parameterization : {"standard", "weight_norm", "geometric"}
        How (W, b) is written; under "geometric" the gain r follows the activation.
    activation : {None, "relu", "leaky_relu", "sigmoid", "tanh", "softplus"}
    rng : numpy.random.Generator
        Source of the initial weights. Biases start at 0.
    init : str
        One of `geonet.nn.initializers.NAMES`.
    bias : bool
        Whether there is a bias (an offset λ under "geometric").
    dtype : {numpy.float64, numpy.float32}

    Raises
    ------
    ValueError
        If a size is below 1, or a name or the dtype is not one of those above.
    """

    def __init__(
        self,
        fan_in,
        fan_out,
        parameterization="standard",
        activation=None,
        *,
        rng,
        init="glorot_uniform",
        bias=True,
        dtype=np.float64,
    ):
        if fan_in < 1 or fan_out < 1:
            raise ValueError(f"fan_in and fan_out must be at least 1, but are {fan_in}, {fan_out}")
        dtype = np.dtype(dtype)
        if dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64, but is {dtype}")
        kind = _choose("parameterization", parameterization, PARAMETERIZATIONS)
        weight = initial_weight(init, fan_out, fan_in, fan_out, rng).astype(dtype)
        self.parameterization = kind(weight, np.zeros(fan_out, dtype) if bias else None)
        self.activation = _choose("activation", activation, ACTIVATIONS)

    def affine(self, x):
        """The map before activation and gain, (N, n) -> (N, O)."""
        return ops.linear(x, *self.parameterization.affine())

    def activate(self, z):
        """What follows the affine map: activation, then gain."""
        y, gain = self.activation(z), self.parameterization.gain
        return y if gain is None else y * gain

    def __call__(self, x):
        (weight, bias), gain = self.parameterization.affine(), self.parameterization.gain
        if self.activation is ops.relu and bias is not None and gain is not None:
            return ops.scaled_relu(ops.linear(x, weight), bias, gain)  # the same in one pass
        return self.activate(self.affine(x))


class Unit(Module):
    """One hidden layer: affine map → normalization → activation → gain → centring.

    Parameters
    ----------
    layer : Linear
        The affine map with its parameterization and activation.
    normalization : BatchNorm, LayerNorm, MeanNorm or None
        Stands between the affine map and the activation, so it moves the boundary.
    centring : MeanNorm or None
        Stands after the gain (input mean normalization).
    """

    def __init__(self, layer, normalization=None, centring=None):
        self.layer = layer
        self.normalization = normalization
        self.centring = centring

    def __call__(self, x):
        if self.normalization is None:
            y = self.layer(x)
        else:
            y = self.layer.activate(self.normalization(self.layer.affine(x)))
        return y if self.centring is None else self.centring(y)
