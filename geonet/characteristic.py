"""Characteristic activation boundaries: where they are, how they move, how far noise moves them.

The boundary of a unit ReLU(w·x + b) is {x : w·x + b = 0}. The functions here work on plain arrays
weight (O, n) and bias (O,), where w·x + b is positive on the active side. `boundary` gives them
for a unit of any method, in the coordinates of the unit's input.
"""

import copy
from typing import NamedTuple

import numpy as np

from geonet.hypersphere import angle_between
from geonet.lazy import lazily
from geonet.nn.layers import layer_of
from geonet.nn.normalization import NoHyperplane
from geonet.tensor import no_grad
from geonet.text import check_choice


def boundary(unit, statistics="running"):
    """Effective boundary of a layer's units, with its normalization taken into account.

    Parameters
    ----------
    unit : geonet.nn.Unit, Linear or Conv2d
        A filter of a convolution is a row of n = kh·kw·C weights, flattened in that order.
    statistics : {"running", "batch"}
        Which μ and σ of a batch or mean normalization to use: the running ones, or those of the
        last batch in training mode.

    Returns
    -------
    weight : numpy.ndarray
        (O, n), copied. Under GmP and GmP-C the unit direction u, for either sign of r.
    bias : numpy.ndarray
        (O,), copied. NaN, like the weight, for a unit with γ = 0, which has no boundary.

    Raises
    ------
    ValueError
        If the unit's layer norm has β ≠ 0, or statistics="batch" and there has been no batch.
    """
    check_choice("statistics", statistics, ("running", "batch"))
    layer = layer_of(unit)
    with no_grad():
        weight, bias = layer.parameterization.affine()
    weight = weight.data.copy()
    bias = np.zeros(len(weight), weight.dtype) if bias is None else bias.data.copy()
    if unit.normalization is None:
        return weight, bias
    return unit.normalization.fold(weight, bias, statistics)


def coordinates(weight, bias):
    """Direction and signed offset of boundaries, u = w/‖w‖ and λ = b/‖w‖.

    Parameters
    ----------
    weight : array_like
        (..., n).
    bias : array_like
        (...).

    Returns
    -------
    direction : numpy.ndarray
        (..., n); its angles are ``to_hyperspherical(direction)[0]``. NaN where w = 0.
    lambda_ : numpy.ndarray
        (...), in the units of x.
    """
    weight, bias = (np.asarray(a) * 1.0 for a in (weight, bias))  # floating
    if weight.ndim < 1 or weight.shape[:-1] != bias.shape:
        raise ValueError(
            f"weight must be (..., n) and bias (...), but are {weight.shape} and {bias.shape}"
        )
    # divide by the largest entry first, so that the squares neither overflow nor underflow
    largest = np.abs(weight).max(axis=-1, keepdims=True, initial=0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scaled = weight / largest
        length = np.linalg.norm(scaled, axis=-1)
        return scaled / length[..., None], bias / largest[..., 0] / length


def location(weight, bias):
    """Spatial location φ = −λu = −b w/‖w‖², the point of each boundary nearest the origin.

    Parameters
    ----------
    weight : array_like
        (..., n).
    bias : array_like
        (...).

    Returns
    -------
    numpy.ndarray
        (..., n), in the units of x. NaN where w = 0.
    """
    direction, lambda_ = coordinates(weight, bias)
    return -lambda_[..., None] * direction


class Tracker:
    """Records the boundaries of all units of a layer, step by step.

    Parameters
    ----------
    unit : geonet.nn.Unit, Linear or Conv2d
    statistics : {"running", "batch"}
        As for `boundary`.

    Examples
    --------
    >>> tracker = Tracker(model[0])
    >>> fit(model, ..., on_step=tracker.record)
    >>> tracker.turns().shape  # (steps, units)
    """

    def __init__(self, unit, statistics="running"):
        self.unit = unit
        self.statistics = statistics
        self._weights, self._biases = [], []
        self.record()

    def record(self):
        """Append the boundaries as they are now; NaN under a layer norm with β ≠ 0."""
        try:
            weight, bias = boundary(self.unit, self.statistics)
        except NoHyperplane:
            weight, bias = (np.full_like(array, np.nan) for array in boundary(self.unit.layer))
        self._weights.append(weight)
        self._biases.append(bias)

    @property
    def weights(self):
        """(T + 1, O, n) for T steps; the first entry is from before training."""
        return np.stack(self._weights)

    @property
    def biases(self):
        """(T + 1, O)."""
        return np.stack(self._biases)

    def locations(self):
        """Spatial locations, (T + 1, O, n)."""
        return location(self.weights, self.biases)

    def turns(self):
        """Change of direction at each step, (T, O), in radians."""
        weights = self.weights
        return angle_between(weights[1:], weights[:-1])

    def displacements(self):
        """Distance that the location moved at each step, (T, O), in the units of x."""
        return np.linalg.norm(np.diff(self.locations(), axis=0), axis=-1)


class Perturbation(NamedTuple):
    """What a change of parameters did to the boundaries of a layer, each (O,)."""

    turn: np.ndarray  # measured change of direction, radians
    bound: np.ndarray  # the largest turn that this change could have caused, radians
    shift: np.ndarray  # measured change of the signed offset, |λ' − λ|
    before: tuple  # (weight, bias)
    after: tuple


def perturb(unit, epsilon, batch=None):
    """Add noise to a copy of a unit's parameters and compare its boundaries before and after.

    Parameters
    ----------
    unit : geonet.nn.Unit, Linear or Conv2d
    epsilon : float or dict
        One number for every component of every parameter, or {parameter name: array} with names
        as in `Module.named_parameters`.
    batch : array_like, optional
        Inputs (N, n), or images. A normalization uses their statistics before and after; by
        default it uses the running ones.

    Returns
    -------
    Perturbation
        The bound is that of the parameterization, with the ε that the addition really made in
        floating point, fl(p + ε) − p.

    Raises
    ------
    ValueError
        If `epsilon` names a parameter that the unit does not have, or makes the β of a layer norm
        differ from 0: then there is no boundary to measure.
    """
    noisy = copy.deepcopy(unit)
    parameters = dict(noisy.named_parameters())
    noise = epsilon if isinstance(epsilon, dict) else dict.fromkeys(parameters, epsilon)
    if unknown := noise.keys() - parameters.keys():
        raise ValueError(f"epsilon names {sorted(unknown)}, but the unit has {list(parameters)}")
    changes = {}
    for name, parameter in parameters.items():
        old = parameter.data.copy()
        parameter.data += noise.get(name, 0)
        changes[name.rsplit(".", 1)[-1]] = parameter.data - old
    before, after = _measured(copy.deepcopy(unit), batch), _measured(noisy, batch)
    (_, old_lambda), (_, new_lambda) = coordinates(*before), coordinates(*after)
    bound = layer_of(unit).parameterization.turn_bound(changes)
    if unit.normalization is not None:
        bound = unit.normalization.turn_bound(bound, changes)
    turn = angle_between(before[0], after[0])
    return Perturbation(turn, bound, np.abs(new_lambda - old_lambda), before, after)


def _measured(unit, batch):
    """The boundary of a unit, by the statistics of a batch if one is given. Changes the unit."""
    if batch is None:
        return boundary(unit)
    with no_grad():
        unit.train()(np.asarray(batch))
    return boundary(unit, "running" if unit.normalization is None else "batch")


__getattr__, __dir__ = lazily(
    __name__, {n: f"geonet.gradients:{n}" for n in ("Anticipated", "anticipate")}
)
