"""Reverse-mode automatic differentiation: a Tensor remembers the operation that made it.

The whole idea in four steps:
1. An operation (a function under ``@primitive``) gets plain arrays and returns two things: its
   value, and how a gradient of that value is pulled back to each of its inputs.
2. The Tensor that holds the value keeps a `Record`: the operation, its input Tensors, the pullback.
3. `Tensor.backward` goes from the newest Tensor to the oldest, as only newer ones can use one, and
   hands every Tensor the sum of what its users pull back to it (the chain rule).
4. Whatever NumPy broadcast on the way forward is summed on the way back, here and nowhere else.

For y = f(x) and g = ∂L/∂y, the pullback of f at x takes g to ∂L/∂x = gᵀ ∂f/∂x.
"""

from __future__ import annotations

import functools
import heapq
import inspect
import itertools
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

_numbers = itertools.count()
_recording = ContextVar("recording", default=True)


class Record(NamedTuple):
    """How a Tensor came about."""

    number: int  # in order of creation
    operation: Any
    inputs: tuple  # as the operation was called: Tensors, arrays, numbers
    needs: tuple  # for each input, whether a gradient is wanted
    pullback: Any  # one function an input, or one function (gradient, needs) for all


FREED = "freed"  # in the place of a Record that backward() has used up


class Tensor:
    """An array that can be differentiated with respect to.

    Parameters
    ----------
    data : array_like
        Numbers of any shape. An array keeps its precision and is not copied.
    requires_grad : bool
        Whether `backward` leaves ∂L/∂self in `grad`, an array of the shape of `data`, adding to
        what is there until it is set to None. TypeError unless the data are floating.
    name : str, optional
    """

    __slots__ = ("__weakref__", "_record", "_retains_grad", "data", "grad", "name", "requires_grad")
    __array_ufunc__ = None  # so that ndarray * Tensor asks Tensor.__rmul__

    def __init__(self, data, requires_grad=False, name=None):
        if type(data) is not np.ndarray:
            data = np.asarray(data.data if isinstance(data, Tensor) else data)
        if data.dtype.kind not in "fiubc":
            raise TypeError(f"data must be numeric, but is {data.dtype} ({data!r:.40})")
        if requires_grad and data.dtype.kind not in "fc":
            raise TypeError(f"requires_grad needs floating data, but data is {data.dtype}")
        self.data, self.requires_grad, self.name = data, requires_grad, name
        self.grad = self._record = None
        self._retains_grad = False

    shape = property(lambda self: self.data.shape)
    dtype = property(lambda self: self.data.dtype)
    ndim = property(lambda self: self.data.ndim)
    size = property(lambda self: self.data.size)

    def __repr__(self):
        record = self._record
        made_by = f", made by {record.operation.__name__}" if isinstance(record, Record) else ""
        name = f", name={self.name!r}" if self.name else ""
        return f"Tensor({self.data}, dtype={self.dtype}{name}{made_by})"

    def __len__(self):
        return len(self.data)

    def __float__(self):
        return float(self.data)

    def __bool__(self):
        return bool(self.data)

    def __array__(self, dtype=None, copy=None):
        if self.requires_grad:
            raise TypeError("a NumPy function would lose the gradient: use geonet.ops, or .data")
        return np.array(self.data, dtype=dtype, copy=copy)

    def __setitem__(self, index, value):
        raise TypeError(
            "a Tensor cannot be assigned to in place, as recorded operations rely on its values: "
            "make a new one with geonet.ops.where(mask, value, x), or change x.data before using x"
        )

    def item(self):
        """The only element, as a Python number."""
        return self.data.item()

    def detach(self):
        """A Tensor on the same data that knows nothing of the past."""
        return Tensor(self.data, name=self.name)

    def retain_grad(self):
        """Ask `backward` to leave the gradient of this intermediate result in `grad` too."""
        self._retains_grad = True
        return self

    def backward(self, gradient=None, retain_graph=False):
        """Add ∂L/∂x to the `grad` of every Tensor x that this one was made from and that wants it.

        Parameters
        ----------
        gradient : array_like, optional
            ∂L/∂self, of this shape. A single number may be L itself: leave it out.
        retain_graph : bool
            Keep the recorded graph for another time. Otherwise it is freed on the way, with the
            memory of each activation, and a second backward() is a RuntimeError.
        """
        if not self.requires_grad:
            raise RuntimeError("backward: no input of this Tensor was made with requires_grad=True")
        if gradient is None and self.size != 1:
            raise ValueError(f"gradient must be given for a Tensor of shape {self.shape}")
        gradient = np.array(1.0 if gradient is None else gradient, self.dtype, ndmin=self.ndim)
        if gradient.shape != self.shape:
            raise ValueError(f"gradient has shape {gradient.shape}, the Tensor {self.shape}")

        if self._record is None:
            self._accumulate(gradient)
            return
        newest_first = [(_age(self), id(self), self)]
        gradients = {id(self): gradient}
        while newest_first:
            tensor = heapq.heappop(newest_first)[-1]  # only newer ones use it, and all are done
            gradient = gradients.pop(id(tensor))
            if tensor._retains_grad:
                tensor._accumulate(gradient)
            for x, contribution in _pull_back(tensor._record, gradient):
                if x._record is None:
                    x._accumulate(contribution)
                elif id(x) in gradients:
                    gradients[id(x)] = gradients[id(x)] + contribution
                else:
                    gradients[id(x)] = contribution
                    heapq.heappush(newest_first, (_age(x), id(x), x))
            if not retain_graph:
                tensor._record = FREED

    def _accumulate(self, gradient):
        # a copy, since the array may be shared or a read-only view
        self.grad = np.array(gradient) if self.grad is None else np.asarray(self.grad + gradient)


def _age(tensor):
    if tensor._record is FREED:
        raise RuntimeError("backward() freed this graph before: call it with retain_graph=True")
    return -tensor._record.number


def _pull_back(record, gradient):
    """Pairs (input, its gradient) for every input of one operation that needs one."""
    _, operation, inputs, needs, pullback = record
    together = pullback(gradient, needs) if callable(pullback) else None
    pairs = []
    for i, needed in enumerate(needs):
        if needed:
            found = pullback if together is None else together
            if i >= len(found) or found[i] is None:
                raise TypeError(f"{operation.__name__} has no pullback for its input {i}")
            x, contribution = inputs[i], found[i] if together is not None else found[i](gradient)
            if contribution.shape != x.data.shape or contribution.dtype != x.data.dtype:
                contribution = _match(contribution, x.data, operation.__name__, i)
            pairs.append((x, contribution))
    return pairs


def _match(gradient, x, operation, i):
    """Undo broadcasting: sum the gradient over the axes along which NumPy repeated x."""
    if gradient.shape != x.shape:
        if gradient.ndim > x.ndim:  # axes that NumPy put in front
            gradient = np.add.reduce(gradient, axis=tuple(range(gradient.ndim - x.ndim)))
        if gradient.ndim == x.ndim and gradient.shape != x.shape:  # axes of 1 that it stretched
            stretched = tuple(k for k, n in enumerate(x.shape) if n == 1)
            gradient = gradient.sum(axis=stretched, keepdims=True)
        if gradient.shape != x.shape:
            raise ValueError(f"{operation}: the pullback to input {i} gives shape "
                             f"{gradient.shape}, the input has {x.shape}")  # fmt: skip
    if gradient.dtype != x.dtype and gradient.dtype.kind == x.dtype.kind:
        gradient = gradient.astype(x.dtype)
    return gradient


def primitive(function=None, **examples):
    """Make a differentiable operation of a function from arrays to (value, pullback).

    `pullback` is a tuple with one function of the gradient for each input (None for an index or a
    mask), or one function ``pullback(gradient, needs)`` that returns all of them where they share
    work. Forward and pullback must accept complex arrays. `examples` say on what gradcheck tries
    the operation: ``domain=(low, high)``, or ``samples=function(rng)``, a list of (args, options).
    """
    if function is None:
        return functools.partial(primitive, **examples)

    @functools.wraps(function)
    def operation(*inputs, **options):
        if options and any(
            isinstance(value, (Tensor, np.ndarray, np.generic)) for value in options.values()
        ):
            bound = inspect.signature(function).bind(*inputs, **options)
            bound.apply_defaults()  # every array gets its place among the inputs
            inputs, options = bound.args, bound.kwargs
        if inputs and isinstance(inputs[0], list):
            inputs = np.asarray(inputs[0]), *inputs[1:]
        arrays, needs = [], []
        for x in inputs:
            if isinstance(x, Tensor):
                arrays.append(x.data)
                needs.append(x.requires_grad)
            else:  # NumPy scalars as Python numbers, which never widen a float32 array
                arrays.append(x.item() if isinstance(x, np.generic) else x)
                needs.append(False)
        value, pullback = function(*arrays, **options)
        result = Tensor(value)
        dtype = result.data.dtype
        for x in arrays:
            if type(x) is np.ndarray and x.dtype != dtype and x.dtype.kind == dtype.kind == "f":
                raise TypeError(f"{function.__name__} would make {dtype} of {x.dtype}: cast before")
        if True in needs and _recording.get():
            result.requires_grad = True
            result._record = Record(next(_numbers), operation, inputs, tuple(needs), pullback)
        return result

    operation.is_primitive = True
    operation.examples = examples
    return operation


@contextmanager
def no_grad():
    """Record nothing inside: ``with no_grad():`` or ``@no_grad()``."""
    token = _recording.set(False)
    try:
        yield
    finally:
        _recording.reset(token)
