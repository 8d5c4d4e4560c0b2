"""Training steps of convnets that classify pictures: how long they take, and how much memory."""

import functools
import os

import numpy as np

from geonet import ops, threads
from geonet.bench import pytorch
from geonet.bench.timing import columns, in_turns, ratio
from geonet.train import SGD

CLASSES = 1000
STATUS = "/proc/self/status"  # where Linux tells a process of its memory


def pictures(images, side):
    """A batch of square pictures (N, H, W, 3) and their labels (N,)."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(images, side, side, 3)).astype(np.float32)
    return x, rng.integers(0, CLASSES, images)


def training_step(model, images, side):
    """A function without arguments: forward, backward and SGD on pictures."""
    x, labels = pictures(images, side)
    optimizer = SGD(model.parameters(), 1e-3, momentum=0.9)

    def step():
        optimizer.zero_grad()
        ops.cross_entropy(model(x), labels).backward()
        optimizer.step()

    return step


def torch_training_step(torch, model, ours, layout, images, side):
    """The same in eager PyTorch, for a model that starts with the parameters of ours."""
    model.to(memory_format=getattr(torch, layout))
    for parameter, start in zip(model.parameters(), ours.parameters(), strict=True):
        value = torch.tensor(start.data)
        if parameter.ndim == 4:  # filters, which are rows (O, h w C) in geonet
            value = value.reshape(len(value), *parameter.shape[2:], -1).permute(0, 3, 1, 2)
        parameter.data.copy_(value)
    x, labels = map(torch.tensor, pictures(images, side))
    x = pytorch.channels_first(torch, x, layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()

    return step


def rows(peer, turns, name, module, images, side):
    """Rows of the time and the peak memory of a training step.

    Parameters
    ----------
    peer : concurrent.futures.Executor or None
        The process with PyTorch, if it is installed.
    turns : int
    name : str
        Of the rows, with {} for the method.
    module : module
        Has `step(method, images, side)` for the methods in METHODS, of which the first is what
        others are compared with; and `torch_step(torch, method, layout, images, side)` for those
        in IN_PYTORCH.
    images, side : int
        Number of pictures, and their pixels per side.
    """
    shape = images, side
    found = _time_rows(peer, turns, name, module, shape)
    return found + _memory_rows(peer, module, shape) if os.path.exists(STATUS) else found


def _time_rows(peer, turns, name, module, shape):
    cases = {
        f"{method}, {layout}": (method, layout, *shape)
        for method in module.IN_PYTORCH
        for layout in pytorch.LAYOUTS
    }
    theirs = pytorch.functions(peer, module.torch_step, cases)
    ours = {method: module.step(method, *shape) for method in module.METHODS}
    seconds = in_turns(ours, theirs, turns, repeats=1)
    found, first = [], module.METHODS[0]
    for method in module.METHODS:
        beside = [values for case, values in seconds.items() if case.startswith(f"{method}, ")]
        times = f"{ratio(seconds[method], seconds[first]):.3f} times {first}'s"
        found.append((name.format(method), *columns(seconds[method], beside), times))
    return found


def _memory_rows(peer, module, shape):
    found = []
    for method in module.METHODS:
        ours = _megabytes(shape, _our_step, module.step, threads.count(), method)
        row = f"peak memory of this step, {method}", f"{ours:.0f} MB"
        if peer is not None and method in module.IN_PYTORCH:
            make = _torch_step, module.torch_step, threads.count(), method
            theirs = min(_megabytes(shape, *make, layout) for layout in pytorch.LAYOUTS)
            row += f"{theirs:.0f} MB", f"{theirs / ours:.2f}"
        found.append(row)
    return found


def _megabytes(shape, *make):
    """Memory of a step in a process of its own."""
    with pytorch.process() as process:
        return process.submit(memory_of_a_step, functools.partial(*make), *shape).result()


def memory_of_a_step(make, images, side):
    """Megabytes that three steps add, at their peak, to this process after a step on one picture.

    The step on so many pictures is `make(images, side)`.
    """
    make(1, side)()
    idle = _resident("VmRSS")
    step = make(images, side)
    for _ in range(3):
        step()
    return _resident("VmHWM") - idle


def _our_step(make, count, *arguments):
    threads.keep_memory()  # as the command line does
    threads.set_threads(count)
    return make(*arguments)


def _torch_step(make, count, *arguments):
    import torch

    torch.set_num_threads(count)
    return make(torch, *arguments)


def _resident(which):
    """Resident size of this process in megabytes: VmRSS is the current, VmHWM the highest."""
    with open(STATUS, encoding="ascii") as file:
        line = next(line for line in file if line.startswith(which))
    return int(line.split()[1]) / 1024
