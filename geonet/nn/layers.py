"""Layers (affine maps under a parameterization), units (whole hidden layers) and blocks."""

import math

import numpy as np

from geonet import ops
from geonet.nn.initializers import initial_weight
from geonet.nn.module import Module
from geonet.nn.normalization import check_features
from geonet.nn.parameterizations import PARAMETERIZATIONS
from geonet.tensor import observers
from geonet.text import check_choice, check_counts, check_type


def identity(x):
    """The activation of a linear layer, x."""
    return x


_FUNCTIONS = ops.relu, ops.leaky_relu, ops.sigmoid, ops.tanh, ops.softplus
FAN_OUTS = "window", "filters"  # of a convolution, for initializers
ACTIVATIONS = {None: identity} | {function.__name__: function for function in _FUNCTIONS}


def _pair(name, value, least):
    pair = value if isinstance(value, tuple) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name} must be a whole number or a pair of them, but is {value!r}")
    for number in pair:
        check_counts(least, **{name: number})
    return pair


class HiddenLayer(Module):
    """What a `Unit` and a single layer have in common: everything that the forward pass needs.

    Attributes
    ----------
    layer : Layer
        The affine map with its parameterization and activation. For a layer, the layer itself.
    normalization : BatchNorm, LayerNorm, MeanNorm or None
    centring : MeanNorm or None
    """

    normalization = centring = None

    def __call__(self, x):
        """Affine map → normalization → activation → gain → centring, (..., inputs) -> (..., O)."""
        layer, normalization, centring = self.layer, self.normalization, self.centring
        gain = layer.parameterization.gain
        weight, bias = layer.rows()
        if normalization is None and layer.activation is ops.relu and bias is not None:
            y = _rectified(layer.apply(x, weight), bias, gain, centring)
        else:
            y = layer.apply(x, weight, bias)
            y = layer.activation(y if normalization is None else normalization(y))
            y = y if gain is None else y * gain
            y = y if centring is None else centring(y)
        for observer in observers():
            observer.on_output(layer, y)
        return y


def _rectified(z, bias, gain, centring):
    """centring(gain · max(z + bias, 0)), if there are both, in few passes over memory."""
    if centring is None or not centring.training or centring.shift is not None:
        y = ops.scaled_relu(z, bias, gain)
        return y if centring is None else centring(y)
    check_features(z, centring.running_mean.size)
    mean = np.empty_like(centring.running_mean)
    y = ops.centred_scaled_relu(z, bias, gain, mean)
    centring.update_running(mean)
    return y


class Layer(HiddenLayer):
    """What layers share: rows (O, n) under a parameterization, activation and gain.

    A subclass adds ``apply(x, weight, bias=None)``, the affine map with given rows (O, n) and bias
    (O,). It passes the number and length of the rows and the fan-out for the initializer. Other
    parameters are those of `Linear`.
    """

    stride, padding = (1, 1), (0, 0)  # of a convolution; a Linear counts as a 1×1 convolution
    filter_shape = None  # (kh, kw, C) of a convolution

    def __init__(self, shape, fan_out, parameterization, activation, rng, init, bias, dtype):
        dtype = np.dtype(dtype)
        check_choice("dtype", str(dtype), ("float32", "float64"))
        check_choice("parameterization", parameterization, PARAMETERIZATIONS)
        check_choice("activation", activation, ACTIVATIONS)
        weight = initial_weight(init, *shape, fan_out, rng).astype(dtype)
        bias = np.zeros(len(weight), dtype) if bias else None
        self.parameterization = PARAMETERIZATIONS[parameterization](weight, bias)
        self.activation = ACTIVATIONS[activation]

    @property
    def layer(self):
        return self

    def rows(self):
        """Weight (O, n) and bias (O,) of the affine map, as Tensors; observers may replace them."""
        weight, bias = self.parameterization.affine()
        for observer in observers():
            weight, bias = observer.on_rows(self, weight, bias)
        return weight, bias


def layer_of(unit):
    """The Linear or Conv2d of a Unit, or the layer itself; anything else is a TypeError."""
    check_type("unit", unit, HiddenLayer, "a Unit, Linear or Conv2d")
    return unit.layer


class Linear(Layer):
    """Fully connected layer, gain(activation(W x + b)).

    Parameters
    ----------
    fan_in, fan_out : int
        Number of inputs n and of units O.
    parameterization : {"standard", "weight_norm", "cartesian", "geometric"}
        How (W, b) is parameterized. Under the last two the gain r follows the activation.
    activation : {None, "relu", "leaky_relu", "sigmoid", "tanh", "softplus"}
    rng : numpy.random.Generator
        Source of the initial weights. Biases start at 0.
    init : str, default "glorot_uniform"
        One of `geonet.nn.initializers.NAMES`.
    bias : bool, default True
        Whether there is a bias (an offset λ where there is a gain).
    dtype : {numpy.float64, numpy.float32}, default float64

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
        check_counts(1, fan_in=fan_in, fan_out=fan_out)
        shape = fan_out, fan_in
        super().__init__(shape, fan_out, parameterization, activation, rng, init, bias, dtype)

    def apply(self, x, weight, bias=None):
        """x Wᵀ + b, (..., n) -> (..., O)."""
        return ops.linear(x, weight, bias)


class Conv2d(Layer):
    """Convolution of images (N, H, W, C), gain(activation(W ∗ x + b)): (N, H', W', O).

    A filter is a row of n = kh·kw·C weights, flattened in the order height, width, channel. For
    initializers the fan-in is n.

    Parameters
    ----------
    in_channels, out_channels : int
        C, and the number of filters O.
    kernel_size, stride, padding : int or (int, int)
        For height and width. The padding is zeros.
    parameterization, activation, rng, init, bias, dtype
        As for `Linear`.
    fan_out : {"window", "filters"}
        For the Glorot initializers: kh·kw·O, which is how many outputs use a channel of a pixel (at
        stride 1), or only O.

    Raises
    ------
    ValueError
        If a size is below 1 or the padding below 0, or a name or the dtype is not one of those of
        `Linear`.
    """

    def __init__(
        self,
        in_channels,
        out_channels,
        kernel_size,
        stride=1,
        padding=0,
        parameterization="standard",
        activation=None,
        *,
        rng,
        init="glorot_uniform",
        fan_out="window",
        bias=True,
        dtype=np.float64,
    ):
        check_counts(1, in_channels=in_channels, out_channels=out_channels)
        check_choice("fan_out", fan_out, FAN_OUTS)
        kernel = _pair("kernel_size", kernel_size, 1)
        self.filter_shape = *kernel, in_channels
        self.stride, self.padding = _pair("stride", stride, 1), _pair("padding", padding, 0)
        shape = out_channels, math.prod(self.filter_shape)
        reached = out_channels * (math.prod(kernel) if fan_out == "window" else 1)
        super().__init__(shape, reached, parameterization, activation, rng, init, bias, dtype)

    def apply(self, x, weight, bias=None):
        """W ∗ x + b, (N, H, W, C) -> (N, H', W', O)."""
        filters = ops.reshape(weight, (-1, *self.filter_shape))
        return ops.conv2d(x, filters, bias, self.stride, self.padding)


class MaxPool2d(Module):
    """The largest entry of each window of images, as in `geonet.ops.max_pool2d`."""

    def __init__(self, size, stride=None, padding=0):
        self.window = size, stride, padding

    def __call__(self, x):
        return ops.max_pool2d(x, *self.window)


class Unit(HiddenLayer):
    """One hidden layer: affine map → normalization → activation → gain → centring.

    Parameters
    ----------
    layer : Linear or Conv2d
        The affine map with its parameterization and activation.
    normalization : BatchNorm, LayerNorm, MeanNorm or None
        Between the affine map and the activation, so it moves the boundary.
    centring : MeanNorm or None
        After the gain (input mean normalization).
    """

    def __init__(self, layer, normalization=None, centring=None):
        self.layer = layer
        self.normalization = normalization
        self.centring = centring


class ResidualBlock(Module):
    """ReLU(branch(x) + shortcut(x)) (He et al. 2016), the block of a residual network.

    The last unit of the branch is linear, and its gain, if it has one, is applied before the sum:
    a row gives r (u·h + λ), where h is the input window of the last convolution. Under a method
    that centres the output of every ReLU, that of the ReLU after the sum is centred too. Linear
    units are not centred, because that would cancel their λ.

    The ReLU after the sum has its own boundary: z = r (u·h + λ) + s = 0, where s is the shortcut's
    value at the same place. It is a hyperplane in (h, s) together. For a fixed s it is the
    hyperplane u·h + (λ + s/r) = 0: the shortcut shifts it along u, differently for each picture,
    and never turns it. `geonet.characteristic.boundary` of the last unit gives it for s = 0. A
    small r makes the offset s/r large: such a unit hardly changes the sum, and its boundary is far
    away.

    Parameters
    ----------
    units : list of Unit
        The branch, one after the other; the last one without activation.
    shortcut : Unit or None
        A linear unit if the branch changes the shape; None for the identity.
    centring : MeanNorm or None
        After the ReLU.
    """

    def __init__(self, units, shortcut=None, centring=None):
        self.units = list(units)
        self.shortcut = shortcut
        self.centring = centring

    def __call__(self, x):
        y = x
        for unit in self.units:
            y = unit(y)
        total = y + (x if self.shortcut is None else self.shortcut(x))
        if self.centring is None:
            return ops.relu(total)
        return _rectified(total, np.zeros_like(self.centring.running_mean), None, self.centring)
