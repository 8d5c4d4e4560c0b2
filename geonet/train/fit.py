"""The training loop."""

import math
import time
from contextlib import closing
from typing import NamedTuple

import numpy as np

from geonet.nn import Sequential
from geonet.tensor import no_grad
from geonet.train.progress import Progress


class History(NamedTuple):
    """What `fit` saw: lists with one entry an epoch."""

    loss: list  # mean training loss, each step's before its update
    monitored: list  # the quantity that steered
    lr: list  # the learning rate at the end of the epoch
    steps: int  # updates made
    stopped: bool  # whether early stopping ended it


class Diverged(ArithmeticError):
    """Training met NaN or infinity.

    Attributes
    ----------
    step : int
        Updates made before.
    layer : str
        Dotted name of the module where the first such number stands, or "the model".
    quantity : str
        What is not finite, such as "output" or "gradient of theta".
    """

    def __init__(self, step, layer, quantity):
        super().__init__(
            f"training diverged after {step} steps: {quantity} of {layer} is not finite"
        )
        self.step, self.layer, self.quantity = step, layer, quantity


def predict(model, x):
    """Output of a model in evaluation mode, without recording; its mode is left as it was.

    Parameters
    ----------
    model : Module
    x : numpy.ndarray
        (N, ...).

    Returns
    -------
    numpy.ndarray
    """
    modes = [(module, module.training) for _, module in model.named_modules()]
    model.eval()
    try:
        with no_grad():
            return model(x).data
    finally:
        for module, training in modes:
            module.training = training


def _batches(x, y, batch_size, rng):
    """Yield the whole set, or its rows in a new order, cut up (the last part may be smaller)."""
    if batch_size is None or batch_size >= len(x):
        yield x, y
        return
    order = rng.permutation(len(x))
    for start in range(0, len(x), batch_size):
        rows = order[start : start + batch_size]
        yield x[rows], y[rows]


def _source(data, epochs, batch_size, rng):
    """Number of batches an epoch, and a function that gives the batches of one."""
    if epochs < 1 or (batch_size is not None and batch_size < 1):
        raise ValueError(f"epochs and batch_size must be at least 1, not {epochs}, {batch_size}")
    if isinstance(data, tuple):
        x, y = data
        _check_data(x, y, batch_size, rng)
        batches = 1 if batch_size is None else -(-len(x) // batch_size)
        return batches, lambda: _batches(x, y, batch_size, rng)
    if batch_size is None or rng is None:
        raise ValueError("batch_size and rng are needed for data that come in batches")
    return data.train_count // batch_size, lambda: data.train_batches(batch_size, rng)


def _owner(name):
    """The module and the quantity in the dotted name of a parameter."""
    layer, _, quantity = name.rpartition(".")
    return layer or "the model", quantity


def _check_parameters(parameters, step):
    for name, parameter in parameters:
        if not np.isfinite(parameter.data).all():
            raise Diverged(step, *_owner(name))


def _blame(model, x, step):
    """Raise the name of the first module with a parameter or an output that is not finite."""
    _check_parameters(model.named_parameters(), step)
    stages = {"the model": model}
    if isinstance(model, Sequential):
        stages = {f"steps.{i}": stage for i, stage in enumerate(model.steps)}
    with no_grad(), np.errstate(all="ignore"):
        for name, stage in stages.items():
            x = stage(x)
            if not np.isfinite(x.data).all():
                raise Diverged(step, name, "output")
    raise Diverged(step, "the model", "loss")


def _check_gradients(parameters, step):
    for name, parameter in parameters:
        if parameter.grad is not None and not np.isfinite(parameter.grad).all():
            layer, quantity = _owner(name)
            raise Diverged(step, layer, f"gradient of {quantity}")


def _check_data(x, y, batch_size, rng):
    if len(x) != len(y) or not len(x):
        raise ValueError(f"data must be x and y of the same length above 0, not {len(x)}, {len(y)}")
    for name, array in (("x", x), ("y", y)):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            row = np.argwhere(~np.isfinite(array))[0][0]
            raise ValueError(f"data: row {row} of {name} is not finite")
    if batch_size is not None and batch_size < len(x) and rng is None:
        raise ValueError("rng is needed to draw batches smaller than the data")


def fit(
    model,
    loss,
    data,
    optimizer,
    *,
    epochs,
    batch_size=None,
    rng=None,
    monitor=None,
    schedule=None,
    stopping=None,
    on_step=None,
    label="training",
):
    """Train a model.

    Parameters
    ----------
    model : Module
    loss : function
        (prediction Tensor, target array) -> Tensor of one number.
    data : tuple of numpy.ndarray, or geonet.data.images.ImageSet
        x (N, ...) and y (N, ...); or anything with a number of rows `train_count` and a function
        `train_batches(batch_size, rng)` that gives an epoch's whole batches (x, y) one by one, of
        which then no more than one at a time is in memory.
    optimizer : Optimizer
        On the model's parameters.
    epochs : int
        Passes over the data, at most.
    batch_size : int, optional
        Without it, every step takes all of the data.
    rng : numpy.random.Generator, optional
        Draws the order of each epoch; needed for batches smaller than the data.
    monitor : function, optional
        model -> float at the end of each epoch, the quantity that steers. Without it, the epoch's
        mean training loss does, and the weights that belong to it are those before the last update
        (with one batch an epoch: exactly those that gave this loss).
    schedule, stopping : objects with step(quantity), optional
        As in `geonet.train.schedules`. When training ends, the stopping rule's best weights are
        put back.
    on_step : function, optional
        Called without arguments after every update, to look on.
    label : str or None
        Of the progress line; None for no line.

    Returns
    -------
    History

    Raises
    ------
    Diverged
        At the first loss or gradient, or final parameter, that is NaN or infinite, naming step,
        layer and quantity.
    ValueError
        If the data are of different lengths, empty or not finite, or a number is out of range.
    """
    batches, epoch = _source(data, epochs, batch_size, rng)
    history = History([], [], [], 0, False)
    parameters = list(model.named_parameters())
    steps, stop = 0, False
    rows, start = 0, time.perf_counter()

    def steer(quantity):
        if not math.isfinite(quantity):
            raise Diverged(steps, "the model", "monitored quantity")
        history.monitored.append(quantity)
        return stopping is not None and stopping.step(quantity)

    # NumPy's warnings would come before the error that says where the number stands
    quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
    with closing(Progress(epochs * batches, label)) as progress, quiet:
        progress.say("first step, for which kernels may have to be compiled")
        for _ in range(epochs):
            model.train()
            losses = []
            for batch_x, batch_y in epoch():
                optimizer.zero_grad()
                value = loss(model(batch_x), batch_y)
                losses.append(value.item())
                if not math.isfinite(losses[-1]):
                    _blame(model, batch_x, steps)
                value.backward()
                _check_gradients(parameters, steps)
                if monitor is None and len(losses) == batches:
                    stop = steer(sum(losses) / batches)
                optimizer.step()
                steps += 1
                if on_step is not None:
                    on_step()
                rows += len(batch_x)
                speed = rows / (time.perf_counter() - start)
                progress.update("loss {:.4g}, {:,.0f} rows/s", losses[-1], speed)
            if monitor is not None:
                stop = steer(monitor(model))
            if schedule is not None:
                schedule.step(history.monitored[-1])
            history.loss.append(sum(losses) / len(losses))
            history.lr.append(optimizer.lr)
            if stop:
                break
    if stopping is not None:
        stopping.restore()
    _check_parameters(parameters, steps)
    return history._replace(steps=steps, stopped=bool(stop))
