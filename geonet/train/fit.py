"""The training loop."""

import math
import time
from contextlib import closing
from functools import partial

import numpy as np

from geonet.nn.module import undisturbed
from geonet.tensor import no_grad
from geonet.text import check_counts
from geonet.train.divergence import Diverged, check_finite, locate_divergence
from geonet.train.position import Position
from geonet.train.progress import Progress


def predict(model, x):
    """Output of a model in evaluation mode, without recording. Its own mode is restored.

    Parameters
    ----------
    model : Module
    x : numpy.ndarray
        (N, ...).

    Returns
    -------
    numpy.ndarray
    """
    with undisturbed(model), no_grad():
        return model.eval()(x).data


def _source(data, epochs, batch_size, rng):
    """Number of batches per epoch, and a function that gives an epoch's, from number `skip` on."""
    check_counts(1, epochs=epochs, batch_size=1 if batch_size is None else batch_size)
    if not isinstance(data, tuple):
        if batch_size is None or rng is None:
            raise ValueError("batch_size and rng are needed for data that come in batches")
        batches = partial(data.train_batches, batch_size, rng)
        count = data.train_count // batch_size
        return count, lambda skip: batches(skip=skip) if skip else batches()
    x, y = data
    if len(x) != len(y) or not len(x):
        raise ValueError(f"data must be x and y of the same length above 0, not {len(x)}, {len(y)}")
    for name, array in (("x", x), ("y", y)):
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            row = np.argwhere(~np.isfinite(array))[0][0]
            raise ValueError(f"data: row {row} of {name} is not finite")
    if batch_size is None or batch_size >= len(x):
        return 1, lambda skip: [data][skip:]
    if rng is None:
        raise ValueError("rng is needed to draw batches smaller than the data")
    return -(-len(x) // batch_size), lambda skip: _batches(x, y, batch_size, rng, skip)


def _batches(x, y, batch_size, rng, skip):
    """Yield batches of rows in a new order, from number `skip` on; the last may be smaller."""
    order = rng.permutation(len(x))
    for start in range(skip * batch_size, len(x), batch_size):
        rows = order[start : start + batch_size]
        yield x[rows], y[rows]


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
    position=None,
    on_gradients=None,
    on_step=None,
    on_epoch=None,
    label="training",
):
    """Train a model.

    Parameters
    ----------
    model : Module
    loss : function
        (prediction Tensor, target array) -> Tensor of one number.
    data : tuple of numpy.ndarray, or geonet.data.ImageSet
        x (N, ...) and y (N, ...); or an object with a number of rows `train_count` and a function
        `train_batches(batch_size, rng)` that yields the full batches (x, y) of an epoch one by one,
        so that only one at a time is in memory. To continue within an epoch, it must also accept
        `skip`, the number of batches to leave out at the start.
    optimizer : Optimizer
        Of the model's parameters.
    epochs : int
        Largest number of passes over the data.
    batch_size : int, optional
        By default every step uses all of the data.
    rng : numpy.random.Generator, optional
        Draws the order of each epoch; needed for batches smaller than the data.
    monitor : function, optional
        model -> float at the end of each epoch, the quantity that steers `schedule` and `stopping`.
        The model is in evaluation mode. Its modes and running statistics are restored afterwards.
        By default this is the epoch's mean training loss. Its weights are then those before the
        last update (with one batch per epoch: exactly those that gave this loss).
    schedule, stopping : objects with step(quantity), optional
        As in `geonet.train.schedules`. When training ends, the stopping rule restores its best
        weights, if it is meant to.
    position : Position, optional
        Where to begin; it is kept up to date. If it is already at the end, nothing is trained.
    on_gradients, on_step, on_epoch : functions, optional
        Called without arguments: after every backward pass, when there are gradients (in
        several processes those of this one's share of the batch); after every update; and after
        every epoch, including its monitor and schedule. They observe, like ``tracker.record`` or
        ``inspector.record``, or save. The model is in training mode before and after each.
    label : str or None
        Of the progress line; None for no line.

    Returns
    -------
    History

    Raises
    ------
    Diverged
        At the first loss or gradient, or final parameter, that is NaN or infinite; it names step,
        layer and quantity.
    ValueError
        If the data have different lengths, are empty or not finite, or a number is out of range.
    """
    batches, epoch = _source(data, epochs, batch_size, rng)
    position = Position() if position is None else position
    position.restore(rng)
    history, parameters = position.history, list(model.named_parameters())
    rows, start = 0, time.perf_counter()

    def call(function):
        if function is not None:
            function()
            if not model.training:  # the function has evaluated the model
                model.train()

    def steer(quantity):
        if not math.isfinite(quantity):
            raise Diverged(history.steps, "the model", "monitored quantity")
        history.monitored.append(quantity)
        history.stopped = stopping is not None and bool(stopping.step(quantity))

    # NumPy's warnings would come before the error, which says more
    quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
    with closing(Progress(epochs * batches, label, done=history.steps)) as progress, quiet:
        progress.say("first step (kernels may have to be compiled)")
        while position.epoch < epochs and not position.stopped:
            model.train()
            for x, y in epoch(position.batch):
                optimizer.zero_grad()
                value = loss(model(x), y)
                value.backward()
                call(on_gradients)
                position.losses.append(optimizer.all_reduce(value.item(), len(x)))
                if not math.isfinite(position.losses[-1]):
                    locate_divergence(model, x, history.steps)
                check_finite(parameters, history.steps, gradients=True)
                if monitor is None and position.batch == batches:
                    steer(sum(position.losses) / batches)
                optimizer.step()
                history.steps += 1
                call(on_step)
                rows += len(x)
                speed = rows / (time.perf_counter() - start)
                progress.update("loss {:.4g}, {:,.0f} rows/s", position.losses[-1], speed)
            if monitor is not None:
                with undisturbed(model):
                    quantity = monitor(model.eval())
                steer(quantity)
            if schedule is not None:
                schedule.step(history.monitored[-1])
            position.end_epoch(optimizer.lr, rng)
            call(on_epoch)
    if stopping is not None:
        stopping.restore()
    check_finite(parameters, history.steps)
    return history
