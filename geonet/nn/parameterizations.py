"""Ways to parameterize the same affine map, shared by every type of layer.

A parameterization owns the raw parameters of a layer's rows. Its constructor finds the parameters
for a given (weight, bias), `affine` gives their affine map, and `gain` is applied after the
activation. For the analysis, `turn_bound` says how far a change of the parameters can turn the rows
(section "Stability" of the paper). `sized` is the parameter that holds ‖w‖, to which weight decay
applies; `turned` is the one that turns the row.
"""

from operator import attrgetter

import numpy as np

from geonet import hypersphere, ops
from geonet.nn.module import Module, Parameter
from geonet.tensor import Tensor


class Angles(Parameter):
    """Hyperspherical angles θ of rows, (O, n − 1). An optimizer may divide steps by the metric."""

    __slots__ = ()


def _lengths(weight):
    """‖w‖ of each row, (O,); a row of zeros is refused."""
    length = np.abs(hypersphere.to_hyperspherical(weight)[1])
    if not np.all(length > 0):
        row = np.argmin(length > 0)
        raise ValueError(f"weight: row {row} has length {length[row]}, so it has no direction")
    return length


def _turn_of_sum(vector, change):
    """Largest angle between v and v + ε over all ε with the norm of `change`, (O, n) -> (O,).

    It is arcsin(‖ε‖/‖v‖) if ‖ε‖ < ‖v‖, π/2 if they are equal, and π otherwise.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.linalg.norm(change, axis=1) / np.linalg.norm(vector, axis=1)
    return np.where(ratio <= 1, np.arcsin(np.minimum(ratio, 1)), np.where(ratio > 1, np.pi, 0))


class Parameterization(Module):
    """Base class: rows (O, n) and offsets (O,) that are made from its own parameters.

    `sized` is the one that holds ‖w‖, and `turned` the one that turns the row.
    """

    gain = None  # factor after the activation, (O,), if there is one


class Standard(Parameterization):
    """z = w·x + b: the weight itself is the parameter.

    Parameters
    ----------
    weight : numpy.ndarray
        (O, n).
    bias : numpy.ndarray or None
        (O,).
    """

    sized = turned = property(attrgetter("weight"))

    def __init__(self, weight, bias):
        self.weight = Parameter(weight)
        self.bias = None if bias is None else Parameter(bias)

    def affine(self):
        """Weight (O, n) and bias (O,) of the map before the activation, as Tensors."""
        return self.weight, self.bias

    def turn_bound(self, change):
        """Largest turn (O,), in radians, of the rows for changes {parameter name: array}."""
        return _turn_of_sum(self.weight.data, change["weight"])


class WeightNorm(Parameterization):
    """z = ℓ v/‖v‖·x + b: separate length and direction of the weight (Salimans & Kingma 2016).

    Starts with v = w and ℓ = ‖w‖. Parameters and methods as for `Standard`; raises ValueError for
    a row of zeros.
    """

    sized, turned = property(attrgetter("length")), property(attrgetter("v"))

    def __init__(self, weight, bias):
        self.v = Parameter(weight)
        self.length = Parameter(_lengths(weight))
        self.bias = None if bias is None else Parameter(bias)

    def affine(self):
        return ops.weight_norm(self.v, self.length), self.bias

    def turn_bound(self, change):
        """As standard, in v; a change of sign of ℓ flips the direction."""
        flipped = self.length.data * (self.length.data + change["length"]) <= 0
        return np.where(flipped, np.pi, _turn_of_sum(self.v.data, change["v"]))


class Geometric(Parameterization):
    """r · ReLU(u(θ)·x + λ): hyperspherical angles, signed offset and radius (Chen & Ge).

    Starts with the angles θ of w, λ = b/‖w‖ and r = ‖w‖. For a positively homogeneous activation
    the function is then that of the standard unit. For n = 1 there is no angle: the direction is
    the fixed sign of w. Parameters and methods as for `Standard`; raises ValueError for a row of
    zeros.
    """

    sized, turned = property(attrgetter("radius")), property(attrgetter("theta"))
    gain = sized  # r, outside the activation, where its sign cannot move the boundary
    _direction = None  # the constant one of units with one input

    def __init__(self, weight, bias):
        length = _lengths(weight)
        theta, _ = hypersphere.to_hyperspherical(weight)
        self.theta = Angles(theta)
        self.lambda_ = None if bias is None else Parameter(bias / length)
        self.radius = Parameter(length)
        if weight.shape[1] == 1:
            self.sign = np.sign(weight)
            self.buffers = ("sign",)
            self._direction = Tensor(self.sign)  # the same array, which loading a state changes

    def affine(self):
        """Direction u(θ) (O, n) and offset λ (O,)."""
        if self._direction is None:
            return ops.hyperspherical(self.theta), self.lambda_
        return self._direction, self.lambda_

    def turn_bound(self, change):
        """‖ε_θ‖ for any finite change, and never more than π."""
        return np.minimum(np.linalg.norm(change["theta"], axis=1), np.pi)


class Cartesian(Parameterization):
    """r · ReLU(v/‖v‖·x + λ): as geometric, but the direction is Cartesian, not made of angles.

    Starts with v = w/‖w‖, of length 1, λ = b/‖w‖ and r = ‖w‖. For n = 1, v/‖v‖ is the sign of w,
    and ∂L/∂v = 0. Parameters and methods as for `Standard`; raises ValueError for a row of zeros.
    """

    sized, turned = property(attrgetter("radius")), property(attrgetter("v"))
    gain = sized

    def __init__(self, weight, bias):
        length = _lengths(weight)
        self.v = Parameter(weight / length[:, None])
        self.lambda_ = None if bias is None else Parameter(bias / length)
        self.radius = Parameter(length)

    def affine(self):
        """Direction v/‖v‖ (O, n) and offset λ (O,)."""
        return ops.weight_norm(self.v, np.ones(len(self.v), self.v.dtype)), self.lambda_

    def turn_bound(self, change):
        """As standard, in v."""
        return _turn_of_sum(self.v.data, change["v"])


PARAMETERIZATIONS = {
    "standard": Standard,
    "weight_norm": WeightNorm,
    "cartesian": Cartesian,
    "geometric": Geometric,
}
