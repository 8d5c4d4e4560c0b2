"""Conversion of a network to another parameterization, with the same function in evaluation.

A unit computes y = g f(a (w·x + b) + d) − c. The rows w, b and the gain g come from its
parameterization (g = r under GmP and GmP-C, otherwise 1), f is its activation, a and d come from a
batch or mean-only norm with its running statistics, and c is the running mean of its centring.
Conversion takes the units in the order in which data pass through them, and does three things for
each.

1. Rows: w ← a w, b ← a b + d. If f is the identity, then also w ← g w, b ← g b − c, and the unit is
   done.
2. Scale: f(s z) = s f(z) for s ≥ 0 and a rectifier f. So |g| can move inside, where the standard
   and the weight-normalized unit have their scale, and ‖w‖ outside, where GmP and GmP-C have r.
3. What the new unit cannot hold moves into the next affine layer: c, and the sign of a negative r
   (or all of r if f is not a rectifier). With x = s x' − c, where the new model has x' in place of
   x, w·x + b = (s w)·x' + (b − w·c). This may pass a pooling, but a max pooling only if s ≥ 0. The
   running mean of a residual block's centring moves in the same way.
"""

import copy
import warnings
from typing import NamedTuple

import numpy as np

from geonet import hypersphere, ops
from geonet.nn.layers import Layer, MaxPool2d, ResidualBlock, Unit, identity
from geonet.nn.module import Module, Parameter, Sequential, dotted
from geonet.nn.normalization import BatchNorm, MeanNorm
from geonet.nn.parameterizations import PARAMETERIZATIONS, Standard
from geonet.tensor import no_grad
from geonet.text import check_choice, check_type

RECTIFIERS = ops.relu, ops.leaky_relu
UNIT_LENGTH = 1e-12  # allowed |‖w‖ − 1| where ‖w‖ cannot move outside the activation


def convert(model, to, approximate=False):
    """A new model in another parameterization that computes the same function in evaluation.

    Batch and mean-only norms and centring are folded into weights and biases with their running
    statistics; a layer norm is kept. Relative to the largest output, outputs agree to 1e-12 in
    float64 and to 1e-5 in float32.

    Parameters
    ----------
    model : geonet.nn.Linear, Conv2d, Unit, ResidualBlock or Sequential
        Is not changed. A Sequential may hold these, `MaxPool2d`, functions, and modules without
        layers in them, which are copied.
    to : {"standard", "weight_norm", "cartesian", "geometric"}
        For every layer, including the output layer. The networks of `geonet.models` have a standard
        output layer under "geometric"; for the same, convert it back.
    approximate : bool
        Whether to continue where the result cannot be exact. Then a UserWarning says what is not
        exact, for each layer and its units.

    Returns
    -------
    Module
        With the same classes, dtypes and dotted names as `model`, and in the same mode.

    Raises
    ------
    ValueError
        If `to` is not one of those above. Unless approximate, also if the conversion cannot be
        exact, naming layer and unit: no affine layer can absorb r < 0 or a centring; a zero-padded
        one would have to absorb a centring (the padding is not shifted); ‖w‖ = 0 has no direction;
        or ‖w‖ ≠ 1 would have to move outside an activation that is not a rectifier, or outside a
        layer norm.
    TypeError
        If the model holds layers inside a module of another kind, whose order is unknown.

    Examples
    --------
    >>> model = geonet.models.mlp([2, 8, 1], "BN", rng=np.random.default_rng(0))
    >>> geometric = convert(model, "geometric")
    >>> geometric.steps[-1] = convert(geometric[-1], "standard")
    """
    check_choice("to", to, PARAMETERIZATIONS)
    check_type("model", model, Module, "a geonet.nn.Module")
    work = _Conversion(PARAMETERIZATIONS[to], approximate)
    converted, rest = work.step(model, "", NOTHING)
    work.stop(rest, "none follows")
    for note in work.notes:
        warnings.warn(note, stacklevel=2)
    return converted.train(model.training)


class _Rest(NamedTuple):
    """What the next affine layer has to absorb: x = scale · x' − shift, each (C,)."""

    origin: str  # dotted name of the unit it comes from
    scale: np.ndarray
    shift: np.ndarray


NOTHING = _Rest("", np.ones(1), np.zeros(1))


class _Conversion:
    """One pass through a model. Each step returns the new module and the `_Rest` for the next."""

    def __init__(self, kind, approximate):
        self.kind, self.approximate, self.notes = kind, approximate, []
        self.gains = kind.gain is not None  # whether the new units have an r outside

    def give_up(self, name, which, reason, instead):
        """Refuse, or note, what cannot be exact for the units where `which` (O,) is true."""
        units = np.flatnonzero(which)
        if not len(units):
            return
        listed = ", ".join(map(str, units[:8])) + (f", … ({len(units)} in all)" * (len(units) > 8))
        text = f"{name or 'the model'}, unit{'s' * (len(units) > 1)} {listed}: {reason}"
        if not self.approximate:
            raise ValueError(f"{text}; approximate=True {instead}")
        self.notes.append(f"{text}; the conversion {instead}")

    def stop(self, rest, why):
        """Give up a rest that no affine layer can absorb."""
        place = f"must move into the next affine layer, but {why}"
        outside = "a scale that is r < 0, or outside an activation that is not a rectifier, "
        self.give_up(rest.origin, rest.scale != 1, f"{outside}{place}", "leaves it out")
        self.give_up(rest.origin, rest.shift != 0, f"a mean {place}", "leaves it out")

    def step(self, step, name, rest):
        """Convert any one step."""
        if isinstance(step, Layer | Unit):
            return self.unit(step, name, rest)
        if isinstance(step, ResidualBlock):
            return self.block(step, name, rest)
        if isinstance(step, Sequential):
            steps = []
            for i, inner in enumerate(step.steps):
                new, rest = self.step(inner, dotted(name, f"steps.{i}"), rest)
                steps.append(new)
            return _changed(step, steps=steps), rest
        inside = step.named_modules() if isinstance(step, Module) else ()
        if any(isinstance(module, Layer) for _, module in inside):
            kinds = "a Linear, Conv2d, Unit, ResidualBlock or Sequential to be converted"
            raise TypeError(f"{name or 'model'} must be {kinds}, but is a {type(step).__name__}")
        if isinstance(step, MaxPool2d):
            reason = f"the sign of r cannot pass {name}, which takes the largest value"
            self.give_up(rest.origin, rest.scale < 0, reason, "passes it anyway")
        elif step is not ops.global_average_pool:
            self.stop(rest, f"{name} comes before it")
            rest = NOTHING
        return copy.deepcopy(step), rest

    def block(self, block, name, rest):
        """Convert a residual block: the rest goes into the branch and into the shortcut."""
        branch, after = rest, np.zeros(1)
        if block.shortcut is None:
            # A shift passes the identity and is subtracted at the end of the branch; a sign cannot.
            self.stop(rest._replace(shift=np.zeros(1)), f"{name} adds its input to its branch")
            branch, after = rest._replace(scale=np.ones_like(rest.scale)), rest.shift
        units = []
        for i, unit in enumerate(block.units):
            shift = after if i == len(block.units) - 1 else 0.0
            new, branch = self.unit(unit, dotted(name, f"units.{i}"), branch, shift)
            units.append(new)
        shortcut, aside = None, NOTHING
        if block.shortcut is not None:
            shortcut, aside = self.unit(block.shortcut, dotted(name, "shortcut"), rest)
        for left in (branch, aside):
            self.stop(left, f"{name} adds it to something else")
        rest = NOTHING
        if block.centring is not None:
            _, shift = evaluated(block.centring)
            rest = _Rest(name, np.ones_like(shift), -shift)
        return _changed(block, units=units, shortcut=shortcut, centring=None), rest

    def unit(self, unit, name, rest, after=0.0):
        """Convert a Unit or a single layer; `after` (O,) is also subtracted from its output."""
        layer, normalization, centring = unit.layer, unit.normalization, unit.centring
        weight, bias, gain = _rows(layer.parameterization)
        biased = bias is not None
        bias = bias if biased else np.zeros(len(weight))
        weight, bias = self.absorb(rest, layer, name, weight, bias)
        if isinstance(normalization, BatchNorm | MeanNorm):
            scale, shift = evaluated(normalization)
            weight, bias = scale[:, None] * weight, scale * bias + shift
            normalization, biased = None, True
        centre = after - (0 if centring is None else evaluated(centring)[1])
        centre = np.broadcast_to(centre, gain.shape)
        linear = layer.activation is identity and normalization is None
        if linear and centre.any():
            weight, bias = gain[:, None] * weight, gain * bias - centre
            gain, centre = np.ones_like(gain), np.zeros_like(gain)
        free = linear or (layer.activation in RECTIFIERS and normalization is None)
        inside, outside = self.divide(gain, linear, free)
        dtype = layer.parameters()[0].dtype
        weight, bias = self.directed(name, weight, bias, dtype, free)
        bias = bias if biased or bias.any() else None
        new = _changed(layer, parameterization=_scaled(self.kind, weight, bias, inside, dtype))
        if isinstance(unit, Unit):
            normalization = copy.deepcopy(normalization)
            new = _changed(unit, layer=new, normalization=normalization, centring=None)
        return new, _Rest(name, outside, centre)

    def absorb(self, rest, layer, name, weight, bias):
        """Rows for x' with the same result as these rows for x = scale · x' − shift."""
        if any(layer.padding):
            reason = f"a mean must move into {name}, which pads images with zeros"
            instead = "is exact only away from their edges"
            self.give_up(rest.origin, rest.shift != 0, reason, instead)
        repeats = weight.shape[1] // rest.scale.size  # a filter has all channels for each pixel
        scale, shift = np.tile(rest.scale, repeats), np.tile(rest.shift, repeats)
        return weight * scale, bias - weight @ shift

    def divide(self, gain, linear, free):
        """Divide the gain into the new unit's gain and the rest's, each (O,)."""
        if linear or self.gains:
            return gain, np.ones_like(gain)
        if free:
            return np.abs(gain), np.where(gain < 0, -1.0, 1.0)
        return np.ones_like(gain), gain

    def directed(self, name, weight, bias, dtype, free):
        """Change rows to ones that the new parameterization can hold."""
        if self.kind is Standard:
            return weight, bias
        length = np.abs(hypersphere.to_hyperspherical(weight.astype(dtype))[1]).astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            none = (length == 0) | np.isinf((bias / length).astype(dtype))
        reason = "‖w‖ = 0, or too small for b/‖w‖, so there is no direction"
        instead = "takes that of the first axis, with ‖w‖ = ε max(|b|, 1) for rounding ε"
        self.give_up(name, none, reason, instead)
        weight[none, 0] = np.finfo(dtype).eps * np.maximum(np.abs(bias[none]), 1)
        if self.gains and not free:
            reason = "‖w‖ ≠ 1 cannot move outside this activation or normalization"
            self.give_up(name, np.abs(length - 1) > UNIT_LENGTH, reason, "moves it anyway")
        return weight, bias


def evaluated(normalization):
    """Scale and shift (O,) in float64 of the map that evaluation applies.

    For `BatchNorm` γ/σ and β − μγ/σ, for `MeanNorm` 1 and −μ, or b − μ with a shift b.
    """
    mean = normalization.running_mean.astype(np.float64)
    if isinstance(normalization, MeanNorm):
        shift = 0.0 if normalization.shift is None else normalization.shift.data
        return np.ones_like(mean), shift - mean
    std = np.sqrt(normalization.running_var.astype(np.float64) + normalization.eps)
    scale = normalization.gamma.data / std
    return scale, normalization.beta.data - mean * scale


def _changed(module, **attributes):
    """A copy of a module with some attributes replaced; the others are shared."""
    new = copy.copy(module)
    vars(new).update(attributes)
    return new


def _rows(parameterization):
    """Weight (O, n), bias (O,) or None, and gain (O,), computed in float64."""
    wide = copy.deepcopy(parameterization)
    for name, parameter in parameterization.named_parameters():
        setattr(wide, name, Parameter(parameter.data.astype(np.float64)))
    with no_grad():
        weight, bias = wide.affine()
    gain = np.ones(len(weight.data)) if wide.gain is None else wide.gain.data
    return weight.data.astype(np.float64), None if bias is None else bias.data, gain


def _scaled(kind, weight, bias, scale, dtype):
    """Parameters of these rows with ‖w‖, and b unless the scale is outside, times scale (O,)."""
    if bias is not None:
        bias = (bias if kind.gain is not None else scale * bias).astype(dtype)
    new = kind(weight.astype(dtype), bias)
    size = new.sized.data
    size *= scale.reshape(-1, *[1] * (size.ndim - 1)).astype(dtype)
    return new
