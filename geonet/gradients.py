"""What a gradient means geometrically: how much of it turns a unit, and how much only scales it.

The gradient g of a weight w with direction u = w/‖w‖ has a radial part (g·u) u, which would change
the length of w, and an angular part g − (g·u) u, orthogonal to it, which would turn the boundary.
An `Inspector` records both for the weight of a layer's affine map under any parameterization, and
how the boundaries move, while `geonet.train.fit` runs. `anticipate` computes what the next step of
an optimizer would do.

Under GmP and GmP-C the map's weight is the direction u, and that of the whole unit, w = r u, has
the gradient ∂L/∂u / r. So that methods can be compared, records hold ‖w‖ ∂L/∂w. Its radial part is
∂L/∂log ‖w‖, and its angular part is ∂L/∂u along the sphere, per radian. Both are the same for all
units that compute the same function.
"""

import copy
from typing import NamedTuple

import numpy as np

from geonet import ops
from geonet.characteristic import boundary
from geonet.check.gradcheck import COMPLEX_STEP
from geonet.kernels import inspector as kernel
from geonet.nn import Module, Unit
from geonet.nn.layers import HiddenLayer
from geonet.nn.normalization import NoHyperplane
from geonet.tensor import Observer, Tensor, gradient_of, observers
from geonet.text import check_choice, check_counts, check_type
from geonet.train.optimizers import Optimizer


def _differentiable(weight):
    """A layer's weight that keeps its gradient; the sign of a unit with one input has none."""
    if not weight.requires_grad:
        weight = Tensor(weight.data, requires_grad=True)
    return weight.retain_grad()


class Geometry(NamedTuple):
    """What an `Inspector` recorded of a layer with O units at T steps, float32 (T, O) each.

    If a layer is called several times in a step, the record is of the last call. Only the gradients
    of parameters add up all calls: the first four fields under standard, otherwise `stretching` and
    `turning`.
    """

    radial: np.ndarray  # ∂L/∂log ‖w‖
    angular: np.ndarray  # ‖∂L/∂u‖ along the sphere, per radian
    stretching: np.ndarray  # of the raw parameters: ∂L/∂w · u, ∂L/∂ℓ or ∂L/∂r
    turning: np.ndarray  # norm of the angular part of ∂L/∂w, of ∂L/∂v or of ∂L/∂θ
    turn: np.ndarray  # of the boundary in the step, radians
    displacement: np.ndarray  # of the boundary's location φ in the step, in units of x
    activity: np.ndarray  # share of the batch, and of places, where a ReLU is active; else NaN

    def _squares(self):
        """Squares of the radial and the angular part, in float64 so that they do not overflow."""
        return (np.square(part, dtype=np.float64) for part in (self.radial, self.angular))

    @property
    def radial_share(self):
        """Share of the radial part in the squared gradient, (T, O) in [0, 1]; NaN for 0/0."""
        radial, angular = self._squares()
        with np.errstate(invalid="ignore"):
            return radial / (radial + angular)

    @property
    def flow(self):
        """Norm of the gradients of all rows together, each times its ‖w‖, (T,)."""
        return np.sqrt(sum(self._squares()).sum(axis=1))

    @property
    def dead(self):
        """Whether a unit was inactive on the whole batch, (T, O); False without a ReLU."""
        return self.activity == 0

    @property
    def outside(self):
        """Whether the whole batch was on one side of a unit, (T, O); False without a ReLU."""
        return (self.activity == 0) | (self.activity == 1)


class Inspector(Observer):
    """Records at every step the parts of the gradients, and how the boundaries move.

    It records inside ``with inspector:`` whenever `record` is called, for example by `fit`.

    Parameters
    ----------
    model : Module
    layers : list of str, optional
        Names of units or layers, as in `named_modules`; by default all units of the model. The
        layer of a unit stands for the unit. A unit with several names is recorded under the first.
    every : int
        Steps from one record to the next. Turn and displacement are those of one step: from the
        record to the next forward pass, including its change of the running statistics.

    Raises
    ------
    ValueError
        If a name is unknown, there is no unit, or `every` is not a whole number of at least 1.
    TypeError
        If `model` is not a Module or `layers` not a list.

    Examples
    --------
    >>> inspector = Inspector(model, every=10)
    >>> with inspector:
    ...     fit(model, ..., on_gradients=inspector.record)
    >>> inspector["steps.0"].radial_share.shape  # (records, units)
    """

    def __init__(self, model, layers=None, every=1):
        check_type("model", model, Module, "a Module")
        check_type("layers", layers, list | tuple | None, "a list of names")
        check_counts(1, every=every)
        modules = dict(model.named_modules())
        units = {name: module for name, module in modules.items() if isinstance(module, Unit)}
        owners = {unit.layer: unit for unit in units.values()}
        self.every = every
        self._steps, self._step = [], 0
        self._pages, self._page_of = {}, {}  # by name, and by layer
        for name in units if layers is None else layers:
            module = modules.get(name)
            if not isinstance(module, HiddenLayer):
                raise ValueError(f"layers: {name!r} is not a Unit, Linear or Conv2d of the model")
            if module.layer not in self._page_of:
                unit = owners.get(module.layer, module)
                self._page_of[unit.layer] = self._pages[name] = _Page(unit)
        if not self._pages:
            raise ValueError("layers must name at least one layer, and the model must have a Unit")

    @property
    def layers(self):
        """Names of the layers, in order."""
        return list(self._pages)

    @property
    def steps(self):
        """Number of steps before each record, (T,), since the inspector was last entered."""
        return np.array(self._steps, dtype=np.int64)

    def __getitem__(self, name):
        """The `Geometry` of a layer."""
        check_choice("name", name, self.layers)
        records = self._pages[name].records
        empty = np.empty((0, len(Geometry._fields), 0), np.float32)
        return Geometry(*np.moveaxis(np.stack(records) if records else empty, 1, 0))

    def __enter__(self):
        super().__enter__()
        self._step = 0
        return self

    def __exit__(self, *error):
        super().__exit__(*error)
        for page in self._pages.values():
            page.close()

    def on_rows(self, layer, weight, bias):
        if layer not in self._page_of or not layer.training:
            return weight, bias
        rows = self._page_of[layer].rows = _differentiable(weight), bias
        return rows

    def on_output(self, layer, output):
        if layer in self._page_of and layer.training:
            self._page_of[layer].output = output.data

    def record(self):
        """Record a step, after its backward pass and before its update.

        Raises
        ------
        ValueError
            Outside ``with inspector:``, or if a layer has not been called in training mode.
        """
        if self not in observers():
            raise ValueError("the inspector must be entered before it records: with inspector: …")
        due = self._step % self.every == 0
        for page in self._pages.values():
            page.next_step(due)
        if due:
            self._steps.append(self._step)
        self._step += 1


class _Page:
    """The records of one layer; a record is complete when the step has been made."""

    def __init__(self, unit):
        self.unit, self.layer = unit, unit.layer
        self.rows = self.output = None  # of the last call in training mode
        self.records, self.pending = [], False
        weight, _ = self.layer.parameterization.affine()
        self.zeros = np.zeros(len(weight), weight.dtype)
        self.boundary = np.zeros(weight.shape), np.zeros(len(weight))  # directions and offsets

    def next_step(self, due):
        """Complete the last record, and begin a new one if one is due."""
        if self.rows is None:
            raise ValueError("unit has not been called in training mode while it was inspected")
        record = Geometry(*np.empty((len(Geometry._fields), len(self.zeros)), np.float32))
        if due or self.pending:
            self._move(*self.rows, self.records[-1] if self.pending else record)
        if due:
            self._gradients(record)
            self._activity(record)
            self.records.append(record)
        self.pending = due

    def close(self):
        """Complete the last record with the parameters as they are now."""
        if self.pending:
            self._move(*self.layer.parameterization.affine(), self.records[-1])
        self.rows, self.pending = None, False

    def _move(self, weight, bias, record):
        """Record how far the boundaries have moved; NaN where they are not hyperplanes."""
        weight, bias = weight.data, self.zeros if bias is None else bias.data
        if [weight.shape, bias.shape] != [array.shape for array in self.boundary]:
            raise ValueError("a layer must keep its size while it is inspected")
        try:
            if self.unit.normalization is not None:
                weight, bias = self.unit.normalization.fold(weight, bias, "running")
        except NoHyperplane:
            record.turn[:] = record.displacement[:] = self.boundary[0][:] = np.nan
        else:
            kernel.movement(weight, bias, *self.boundary, record.turn, record.displacement)

    def _gradients(self, record):
        """Record the parts of the weight's gradient, and of the gradients of raw parameters."""
        weight, rows = self.rows[0], self.layer.parameterization
        kernel.gradient_parts(weight.data, gradient_of(weight), *record[:4])
        turned, sized = rows.turned, rows.sized
        if turned is not sized:
            turning = gradient_of(turned)
            record.turning[:] = np.sqrt(np.einsum("on,on->o", turning, turning, dtype=np.float64))
            record.stretching[:] = gradient_of(sized)

    def _activity(self, record):
        """Record how often units are active; an inactive one has output 0, or −mean if centred."""
        if self.layer.activation is not ops.relu:
            record.activity[:] = np.nan
            return
        centring = self.unit.centring
        resting = self.zeros if centring is None else -centring.batch_mean
        kernel.activity(self.output.reshape(-1, len(resting)), resting, record.activity)


class Anticipated(NamedTuple):
    """What a step would do to the boundaries of a layer, to first order, each (O,)."""

    turn: np.ndarray  # change of direction, radians
    shift: np.ndarray  # change of the signed offset, with its sign, in the units of x
    displacement: np.ndarray  # distance that the location φ moves, in the units of x


def anticipate(unit, optimizer, statistics="running"):
    """What the next step of an optimizer would do to each boundary.

    The step is taken on a copy, with the gradients that `backward` left in the parameters, and
    with the optimizer's learning rate and state. Nothing is changed. A complex step follows its
    effect through parameterization and normalization, so the answer is exact to first order in the
    change of the parameters, for every method.

    Parameters
    ----------
    unit : geonet.nn.Unit, Linear or Conv2d
    optimizer : geonet.train.SGD or Adam
        Of the unit's parameters, and possibly others; ``SGD(unit.parameters(), lr)`` for plain
        gradient descent. Gradients are taken as they are. They include all processes, if there are
        several, only after `all_reduce`.
    statistics : {"running", "batch"}
        As for `boundary`; the step does not change the statistics themselves.

    Returns
    -------
    Anticipated
        0 for a unit that the step does not change, NaN for one without a boundary.

    Raises
    ------
    ValueError
        If the optimizer has none of the unit's parameters, the unit has no boundary (see
        `boundary`), or the step would make the β of a layer norm differ from 0.
    TypeError
        If `unit` or `optimizer` is something else.
    """
    check_type("optimizer", optimizer, Optimizer, "an Optimizer")
    boundary(unit, statistics)  # raises an error if there is none
    if not {*map(id, unit.parameters())} & {*map(id, optimizer.parameters)}:
        raise ValueError("optimizer must have parameters of the unit, but has none")
    kept = {id(optimizer.comm): optimizer.comm}  # is not copied
    moved, trial = copy.deepcopy((unit, optimizer), kept)  # together, so that they share parameters
    trial.step()
    for old, new in zip(unit.parameters(), moved.parameters()):
        start = old.data.astype(np.float64)
        new.data = start + 1j * COMPLEX_STEP * (new.data - start)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # NaN without a boundary
        try:
            weight, bias = boundary(moved, statistics)
        except NoHyperplane as error:
            raise NoHyperplane(f"after the step {error}") from None
        (w, dw), (b, db) = ((np.real(a), np.imag(a) / COMPLEX_STEP) for a in (weight, bias))
        length = np.linalg.norm(w, axis=1)
        along = np.einsum("on,on->o", w, dw) / length  # d‖w‖
        across = dw - along[:, None] * w / length[:, None]
        turn, shift = np.linalg.norm(across, axis=1) / length, (db - b * along / length) / length
        return Anticipated(turn, shift, np.hypot(shift, b / length * turn))  # dφ = −dλ u − λ du
