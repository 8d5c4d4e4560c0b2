"""What a gradient means geometrically: how much of it turns a unit, how much only scales it.

The gradient of a weight w with direction u = w/‖w‖ has a radial part (g·u) u, which would change
the length of w, and an angular part orthogonal to it, which would turn the boundary. `split` tells
them apart for the weight that a layer's affine map works with, whatever its parameterization, as a
`Watch` sees it; `raw` does so for the parameters behind it. An `Inspector` keeps a record of
both, and of what becomes of the boundaries, while `geonet.train.fit` runs. What a coming step of an
optimizer would do, `geonet.characteristic.anticipate` says.

Under geometric parameterization the map's weight is u(θ), and that of the whole unit, w = r u, has
the gradient ∂L/∂u / r. So that methods can be compared, records hold ‖w‖ ∂L/∂w: its radial part is
∂L/∂log ‖w‖ and its angular part is ∂L/∂u along the sphere, by radian, the same for all units that
compute the same function.
"""

from typing import NamedTuple

import numpy as np

from geonet import ops
from geonet.kernels import inspection as kernel
from geonet.nn import Unit
from geonet.nn.normalization import NoHyperplane
from geonet.tensor import Tensor


def split(weight, gradient):
    """Radial and angular part of the gradients of rows: (g·u) u and g − (g·u) u with u = w/‖w‖.

    Parameters
    ----------
    weight, gradient : array_like
        (..., n).

    Returns
    -------
    radial, angular : numpy.ndarray
        (..., n), orthogonal, and their sum is the gradient. NaN where w = 0.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    weight, gradient = np.asarray(weight), np.asarray(gradient)
    if weight.shape != gradient.shape or not weight.ndim:
        raise ValueError(
            f"weight and gradient must be of one shape (..., n), but are {weight.shape} and "
            f"{gradient.shape}"
        )
    with np.errstate(invalid="ignore"):
        direction = weight / np.linalg.norm(weight, axis=-1, keepdims=True)
    radial = (gradient * direction).sum(axis=-1, keepdims=True) * direction
    return radial, gradient - radial


class Raw(NamedTuple):
    """The gradients of a layer's own parameters, by what they do to its boundaries."""

    turning: np.ndarray  # (O, n), under geometric (O, n − 1)
    stretching: np.ndarray  # (O,)
    shifting: np.ndarray  # (O,), or None without a bias
    metric: np.ndarray  # turn, in radians, for a unit change along each entry of `turning`


def raw(unit):
    """Gradients of the raw parameters after `backward`, divided by what they do.

    ============  =====================  ==========  ========  ========
    .             turning                stretching  shifting  metric
    ============  =====================  ==========  ========  ========
    standard      angular part of ∂L/∂w  ∂L/∂w · u   ∂L/∂b     1/‖w‖
    weight_norm   ∂L/∂v, which is ⟂ v    ∂L/∂ℓ       ∂L/∂b     1/‖v‖
    geometric     ∂L/∂θ                  ∂L/∂r       ∂L/∂λ     s_k
    ============  =====================  ==========  ========  ========

    To first order, a step −lr · turning turns a row by lr · ‖metric · turning‖ radians.

    Parameters
    ----------
    unit : geonet.nn.Unit, Linear or Conv2d

    Returns
    -------
    Raw

    Raises
    ------
    ValueError
        If there has been no backward pass.
    """
    owner = getattr(unit, "layer", unit).parameterization
    turned, sized = getattr(owner, owner.turned_by), getattr(owner, owner.sized_by)
    if sized.grad is None:
        raise ValueError("unit has no gradients: call backward() before")
    if turned is sized:
        length = np.linalg.norm(sized.data, axis=1)
        _, turning = split(turned.data, turned.grad)
        stretching = (turned.grad * turned.data).sum(axis=1) / length
    else:
        turning, stretching = _gradient(turned), sized.grad
    _, offset = owner.affine()
    return Raw(turning, stretching, None if offset is None else offset.grad, owner.metric())


class Watch:
    """Keeps the weight of a unit's affine map, its gradient, and the unit's output.

    They are those of the unit's last call in training mode inside ``with``; to ask before there was
    one is a ValueError.

    Parameters
    ----------
    unit : geonet.nn.Unit, Linear or Conv2d

    Examples
    --------
    >>> with Watch(model[0]) as seen:
    ...     ops.mse(model(x), y).backward()
    >>> radial, angular = split(seen.weight, seen.gradient)
    """

    def __init__(self, unit):
        self.unit, self.layer = unit, getattr(unit, "layer", unit)
        self._rows = self.output = None  # output: an array (..., O)

    def __enter__(self):
        self.layer.watch = self
        return self

    def __exit__(self, *_):
        del self.layer.watch

    def on_rows(self, weight, bias):
        """Take note of the layer's weight and bias, and hand them on."""
        if not self.layer.training:
            return weight, bias
        if not weight.requires_grad:  # the sign of a geometric unit with one input
            weight = Tensor(weight.data, requires_grad=True)
        self._rows = weight.retain_grad(), bias
        return self._rows

    def on_output(self, output):
        """Take note of the unit's output, and hand it on."""
        if self.layer.training:
            self.output = output.data
        return output

    @property
    def rows(self):
        """Weight (O, n) and bias (O,) or None, as Tensors."""
        if self._rows is None:
            raise ValueError("unit has not been called in training mode while it was watched")
        return self._rows

    @property
    def weight(self):
        """(O, n); under geometric the unit direction u(θ)."""
        return self.rows[0].data

    @property
    def gradient(self):
        """∂L/∂weight, (O, n); 0 where nothing reached it."""
        return _gradient(self.rows[0])


def _gradient(tensor):
    """Gradient of a Tensor, 0 where nothing reached it, such as angles of units with one input."""
    return np.zeros_like(tensor.data) if tensor.grad is None else tensor.grad


class Geometry(NamedTuple):
    """What an `Inspector` took down of a layer with O units at T steps, float32 (T, O) each."""

    radial: np.ndarray  # ∂L/∂log ‖w‖
    angular: np.ndarray  # ‖∂L/∂u‖ along the sphere, by radian
    stretching: np.ndarray  # of the raw parameters, as `raw` has it: ∂L/∂w · u, ∂L/∂ℓ or ∂L/∂r
    turning: np.ndarray  # its norm: of the angular part of ∂L/∂w, of ∂L/∂v or of ∂L/∂θ
    turn: np.ndarray  # of the boundary by the step, radians
    displacement: np.ndarray  # of the boundary's location φ by the step, in units of x
    activity: np.ndarray  # share of the batch (and of places of an image) where the unit is active

    @property
    def radial_share(self):
        """Radial part of the squared gradient, (T, O) in [0, 1]; NaN where there is none."""
        with np.errstate(invalid="ignore"):
            return self.radial**2 / (self.radial**2 + self.angular**2)

    @property
    def flow(self):
        """‖∂L/∂w‖ of all rows together, each times its ‖w‖, (T,)."""
        return np.sqrt((self.radial**2 + self.angular**2).sum(axis=1))

    @property
    def dead(self):
        """Units that are inactive on the whole batch, (T, O)."""
        return self.activity == 0

    @property
    def outside(self):
        """Units whose boundary has left the data, (T, O): all of the batch lies on one side."""
        return (self.activity == 0) | (self.activity == 1)


class Inspector:
    """Records per step what gradients mean and what becomes of the boundaries, for `fit`.

    Parameters
    ----------
    model : Module
    layers : list of str, optional
        Names of units or layers, as `named_modules` has them; all units of the model without it.
    every : int
        Steps from one record to the next. The turn and the displacement are those by one step, from
        a record to the forward pass after it, and take in what that does to running statistics.

    Raises
    ------
    ValueError
        If a name is not known, there is no unit, or `every` is below 1.

    Examples
    --------
    >>> inspector = Inspector(model, every=10)
    >>> fit(model, ..., inspect=inspector)
    >>> inspector["steps.0"].radial_share.shape  # (records, units)
    """

    def __init__(self, model, layers=None, every=1):
        modules = dict(model.named_modules())
        if layers is None:
            layers = [name for name, module in modules.items() if isinstance(module, Unit)]
        for name in layers:
            module = modules.get(name)
            if not hasattr(getattr(module, "layer", module), "parameterization"):
                raise ValueError(f"layers: {name!r} is not a Unit, Linear or Conv2d of the model")
        if every < 1 or not layers:
            raise ValueError(
                f"every must be at least 1 and layers not empty, not {every}, {layers}"
            )
        self.every = every
        self._pages = {name: _Page(modules[name]) for name in layers}
        self._steps = []

    @property
    def layers(self):
        """Names of the layers, in order."""
        return list(self._pages)

    @property
    def steps(self):
        """Number of updates before each record, (T,)."""
        return np.array(self._steps, dtype=np.int64)

    def __getitem__(self, name):
        """The `Geometry` of a layer."""
        records = self._pages[name].records
        empty = np.empty((0, kernel.FIELDS, 0), np.float32)
        return Geometry(*np.moveaxis(np.stack(records) if records else empty, 1, 0))

    def __enter__(self):
        for page in self._pages.values():
            page.watch.__enter__()
        return self

    def __exit__(self, *_):
        for page in self._pages.values():
            page.close()

    def record(self, step):
        """Take down a step, after its backward pass and before its update."""
        due = step % self.every == 0
        for page in self._pages.values():
            page.turn_over(due)
        if due:
            self._steps.append(step)


class _Page:
    """What an inspector has of one layer: a record is complete when the step has been made."""

    def __init__(self, unit):
        self.watch = Watch(unit)
        self.rows = self.watch.layer.parameterization
        self.normalization = getattr(unit, "normalization", None)
        self.centring = getattr(unit, "centring", None)
        self.records, self.open = [], False
        weight, _ = self.rows.affine()
        self.nothing = np.zeros(len(weight), weight.dtype)
        self.place = np.zeros(weight.shape), np.zeros(len(weight))  # directions and offsets

    def turn_over(self, due):
        """Complete the last record, and begin a new one if one is due."""
        record = np.empty((kernel.FIELDS, len(self.nothing)), np.float32)
        if due or self.open:
            self._move(*self.watch.rows, self.records[-1] if self.open else record)
        if due:
            self._gradients(record)
            self._activity(record)
            self.records.append(record)
        self.open = due

    def close(self):
        """Complete the last record by the parameters as they are now."""
        if self.open:
            self._move(*self.rows.affine(), self.records[-1])
        self.open = False
        self.watch.__exit__()

    def _move(self, weight, bias, record):
        """Write how far the boundaries have come, NaN where they are no hyperplanes."""
        weight, bias = weight.data, self.nothing if bias is None else bias.data
        try:
            if self.normalization is not None:
                weight, bias = self.normalization.fold(weight, bias, "running")
        except NoHyperplane:
            record[kernel.TURN] = record[kernel.DISPLACEMENT] = self.place[0][...] = np.nan
        else:
            kernel.movement(weight, bias, *self.place, record)

    def _gradients(self, record):
        """Write the parts of the weight's gradient, and those of what the weight is made from."""
        kernel.parts(self.watch.weight, self.watch.gradient, record)
        turned, sized = self.rows.turned_by, self.rows.sized_by
        if turned != sized:
            turning = _gradient(getattr(self.rows, turned))
            record[kernel.TURNING] = np.sqrt(np.einsum("on,on->o", turning, turning))
            record[kernel.STRETCHING] = _gradient(getattr(self.rows, sized))

    def _activity(self, record):
        """Write how often units are active: inactive ones put out 0, less the mean if centred."""
        if self.watch.layer.activation is not ops.relu:
            record[kernel.ACTIVITY] = np.nan
            return
        resting = self.nothing if self.centring is None else -self.centring.batch_mean
        kernel.activity(self.watch.output.reshape(-1, len(resting)), resting, record)
