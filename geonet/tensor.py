"""Reverse-mode automatic differentiation: a Tensor remembers the operation that made it.

The whole idea in four steps:

1. An operation (a function under ``@primitive``) gets plain arrays and returns two things: its
   value, and how a gradient of that value is pulled back to each of its inputs.
2. The Tensor that holds the value keeps a `Record`: the operation, its input Tensors, the pullback.
3. `Tensor.backward` orders the recorded Tensors so that each comes after all that use it, and
   hands every Tensor the sum of what its users pull back to it (the chain rule).
4. Whatever NumPy broadcast on the way forward is summed on the way back, here and nowhere else.

The notation is that of pullbacks (vector-Jacobian products): for y = f(x) and g = ∂L/∂y, the
pullback of f at x takes g to ∂L/∂x = gᵀ ∂f/∂x.
"""

from __future__ import annotations

import functools
import inspect
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import numpy as np

_recording = ContextVar("recording", default=True)


class Record(NamedTuple):
    """How a Tensor came about: what backward() needs to know of one operation."""

    operation: Any  # the primitive itself, for its name and documentation
    inputs: tuple  # as the operation was called: Tensors, arrays, numbers
    needs: tuple  # for each input, whether a gradient is wanted
    pullback: Any  # one function an input, or one function (gradient, needs) for all


FREED = "freed"  # stands in the place of a Record that backward() has used up


class Tensor:
    """An array that can be differentiated with respect to.

    Parameters
    ----------
    data : array_like
        The values, of any shape. Floating arrays keep their precision and are not copied.
    requires_grad : bool
        Whether `backward` should leave ∂L/∂self in `grad`. Needs floating (or complex) data.
    name : str, optional
        What messages and pictures call it.

    Attributes
    ----------
    grad : numpy.ndarray or None
        The gradient, of the shape of `data`. Every `backward` adds to it until it is set to None.

    Raises
    ------
    TypeError
        If `data` is not numeric, or `requires_grad` is asked of integers.
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
        self.data = data
        self.grad = None
        self.requires_grad = requires_grad
        self.name = name
        self._record = None
        self._retains_grad = False

    shape = property(lambda self: self.data.shape)
    dtype = property(lambda self: self.data.dtype)
    ndim = property(lambda self: self.data.ndim)
    size = property(lambda self: self.data.size)

    def __repr__(self):
        made_by = f", made by {self._record.operation.__name__}" if self.is_recorded else ""
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
            "a Tensor cannot be assigned to in place, since operations already recorded rely on "
            "its values: build a new one with geonet.ops.where(mask, value, x), or change x.data "
            "before x is used"
        )

    @property
    def is_recorded(self):
        """Whether this Tensor knows the operation that made it."""
        return isinstance(self._record, Record)

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
        """Add ∂L/∂x to the `grad` of every Tensor x that requires one, L being this Tensor.

        Parameters
        ----------
        gradient : array_like, optional
            ∂L/∂self, of this Tensor's shape, where L is a function of this Tensor. May be left
            out for a single number, which is then L itself.
        retain_graph : bool
            Keep the recorded graph so that it can be gone through again. Otherwise it is freed on
            the way, and the memory of each activation with it.

        Raises
        ------
        RuntimeError
            If nothing here requires a gradient, or the graph was freed by an earlier call.
        ValueError
            If `gradient` is missing for several numbers, or is of another shape.
        """
        if not self.requires_grad:
            raise RuntimeError("backward: no input of this Tensor was made with requires_grad=True")
        if gradient is None:
            if self.size != 1:
                raise ValueError(f"gradient must be given for a Tensor of shape {self.shape}")
            gradient = np.ones_like(self.data)
        gradient = np.asarray(gradient, dtype=np.result_type(self.dtype))
        if gradient.shape != self.shape:
            raise ValueError(f"gradient has shape {gradient.shape}, the Tensor {self.shape}")

        order = _topological_order(self)
        gradients = {id(self): gradient}
        while order:
            tensor = order.pop()  # all that use it have been seen, so its gradient is complete
            gradient = gradients.pop(id(tensor))
            if tensor._record is None or tensor._retains_grad:
                # a copy, since the array may be shared or a read-only view
                known = tensor.grad
                tensor.grad = np.array(gradient if known is None else known + gradient)
            if tensor._record is not None:
                for x, contribution in _pull_back(tensor._record, gradient):
                    known = gradients.get(id(x))
                    gradients[id(x)] = contribution if known is None else known + contribution
                if not retain_graph:
                    tensor._record = FREED


def _topological_order(root):
    """Every Tensor that `root` depends on and that needs a gradient, inputs before results.

    A depth-first walk with a stack of its own: a recorded chain may be longer than Python's.
    """
    order, seen, stack = [], set(), [(root, False)]
    while stack:
        tensor, inputs_done = stack.pop()
        if inputs_done:
            order.append(tensor)
        elif id(tensor) not in seen:
            seen.add(id(tensor))
            stack.append((tensor, True))
            record = tensor._record
            if record is FREED:
                raise RuntimeError(
                    "backward: the graph was freed by an earlier backward(); "
                    "call that one with retain_graph=True to go through it twice"
                )
            if record is not None:
                stack.extend((x, False) for x, n in zip(record.inputs, record.needs) if n)
    return order


def _pull_back(record, gradient):
    """Yield (input, its gradient) for every input of one operation that needs one."""
    operation, inputs, needs, pullback = record
    together = pullback(gradient, needs) if callable(pullback) else None
    for i, (x, needed) in enumerate(zip(inputs, needs)):
        if needed:
            rules = pullback if together is None else together
            rule = rules[i] if i < len(rules) else None
            if rule is None:
                raise TypeError(f"{operation.__name__} has no pullback for its input {i}")
            contribution = rule(gradient) if together is None else rule
            yield x, _match(contribution, x.data, operation.__name__, i)


def _match(gradient, x, operation, i):
    """Undo broadcasting: sum the gradient over the axes along which NumPy repeated x."""
    if gradient.shape != x.shape:
        if gradient.ndim > x.ndim:  # axes that NumPy put in front
            gradient = gradient.sum(axis=tuple(range(gradient.ndim - x.ndim)))
        if gradient.ndim == x.ndim:  # axes of length 1 that it stretched
            stretched = tuple(k for k, n in enumerate(x.shape) if n == 1)
            gradient = gradient.sum(axis=stretched, keepdims=True)
        if gradient.shape != x.shape:
            raise ValueError(
                f"{operation}: the pullback to input {i} gives shape {gradient.shape}, "
                f"the input has {x.shape}"
            )
    if gradient.dtype != x.dtype and gradient.dtype.kind == x.dtype.kind:
        gradient = gradient.astype(x.dtype)
    return gradient


def primitive(function=None, **examples):
    """Make a differentiable operation of a function from arrays to (value, pullback).

    `pullback` is a tuple with one function of the gradient for each input, or one function
    ``pullback(gradient, needs)`` that returns all of them where they share work. An input without
    a derivative (an index, a mask) has None. Forward and pullback must accept complex arrays.
    Tensors among keyword arguments count as inputs at their place in the signature.

    `examples` say on what `gradcheck.examples` tries the operation: ``domain=(low, high)`` of
    the numbers, or ``samples=function(rng)``, a list of (arguments, options).
    """
    if function is None:
        return functools.partial(primitive, **examples)

    @functools.wraps(function)
    def operation(*inputs, **options):
        for value in options.values():
            if isinstance(value, Tensor):
                bound = inspect.signature(function).bind(*inputs, **options)
                bound.apply_defaults()
                return operation(*bound.args, **bound.kwargs)
        arrays, needs, dtypes = [], [], set()
        for x in inputs:
            if isinstance(x, Tensor):
                arrays.append(x.data)
                needs.append(x.requires_grad)
                dtypes.add(x.data.dtype)
            else:  # NumPy scalars as Python numbers, which never widen a float32 array
                arrays.append(x.item() if isinstance(x, np.generic) else x)
                needs.append(False)
                if type(x) is np.ndarray:
                    dtypes.add(x.dtype)
        if len(dtypes) > 1 and len({d for d in dtypes if d.kind == "f"}) > 1:
            names = " and ".join(sorted(map(str, dtypes)))
            raise TypeError(f"{function.__name__} would mix {names}: make them the same first")
        value, pullback = function(*arrays, **options)
        result = Tensor(value)
        if True in needs and _recording.get():
            result.requires_grad = True
            result._record = Record(operation, inputs, tuple(needs), pullback)
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
