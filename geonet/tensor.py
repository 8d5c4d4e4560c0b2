"""Reverse-mode automatic differentiation: a Tensor remembers the operation that made it.

The whole idea in four steps:
1. An operation (a function under ``@primitive``) gets plain arrays and returns two things: its
   value, and how a gradient of that value is pulled back to each of its inputs.
2. The Tensor that holds the value keeps a `Record`: the operation, the records of its inputs, and
   the pullback. An activation that no pullback needs is not kept alive.
3. `Tensor.backward` goes from the newest record to the oldest, because only newer records can use
   an older one. It gives each record the sum of what its users pull back to it (the chain rule).
4. Where NumPy broadcast an input on the way forward, the engine sums its gradient on the way back.

For y = f(x) and g = ∂L/∂y, the pullback of f at x takes g to ∂L/∂x = gᵀ ∂f/∂x.
"""

import functools
import heapq
import inspect
import itertools
import weakref
from contextlib import ContextDecorator, contextmanager
from contextvars import ContextVar
from operator import attrgetter

import numpy as np

OPERATIONS = {}  # name -> operation, for every function of geonet.ops under `primitive`
_numbers = itertools.count()
_recording = ContextVar("recording", default=True)
_observers = ContextVar("observers", default=())
is_recording = _recording.get  # whether operations are recorded here: not inside `no_grad`
observers = _observers.get  # the observers inside whose `with` this is, a tuple
_NUMERIC = frozenset(map(np.dtype, "?bBhHiIlLqQefdgFDG"))  # in native byte order
_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


class Record:
    """How a Tensor was made."""

    __slots__ = ("dtype", "inputs", "note", "number", "operation", "pullback", "shape", "tensor")

    def __init__(self, operation, inputs, pullback, value):
        self.number = next(_numbers)  # in order of creation
        self.operation, self.shape, self.dtype = operation, value.shape, value.dtype
        self.inputs = inputs  # of each its Record, or a Tensor without one, or None (no gradient)
        self.pullback = pullback  # one function per input, or one (gradient, needs) for all
        self.tensor = None  # a weak reference to a Tensor that keeps its gradient
        # and `note`, where geonet.graph keeps what it observed


def _method(name):
    """A method that finds its operation by name in OPERATIONS, which geonet.ops fills."""
    return lambda self, *others: OPERATIONS[name](self, *others)


def _operator(name):
    """The two methods of an operator, for a Tensor on its left and on its right."""
    return _method(name), lambda self, other: OPERATIONS[name](other, self)


def _in_place(name):
    """The method of an operator such as ``+=``: in place on a parameter, else ``x = x + y``."""

    def method(self, other):
        if self._record is not None or not self.requires_grad:
            return OPERATIONS[name](self, other)
        if is_recording():
            raise TypeError("+= and its like would change what backward() relies on: use an "
                            "optimizer, or `with geonet.no_grad():`, or x = x + y")  # fmt: skip
        value = OPERATIONS[name](self, other).data.reshape(self.shape)
        np.copyto(self.data, value, casting="equiv")
        return self

    return method


def _comparison(compare):
    """A comparison of real parts. It returns a plain mask, for `where` and indexing, since it has
    no derivative. The imaginary part of a complex step must not decide."""

    def method(self, other):
        other = other.data if isinstance(other, Tensor) else other
        return compare(np.real(self.data), np.real(other))

    return method


def _plain(data):
    """The numbers of something array_like, as a plain array in native byte order."""
    if hasattr(data, "filled"):
        raise TypeError("a masked array would lose its mask: use its .filled(value)")
    data = np.asarray(data.data if isinstance(data, Tensor) else data)
    if data.dtype.kind not in "fiubc":
        raise TypeError(f"data must be numeric, but is {data.dtype} ({data!r:.40})")
    return data if data.dtype in _NUMERIC else data.astype(data.dtype.newbyteorder("="))


def exact(*arrays):
    """The same numbers, in types that NumPy computes with as with numbers: 200 + 100 is 300.

    Integers and booleans become int64 or, beside floating arrays, the type of NumPy's promotion: of
    float32 and uint8, float32. Whatever is not an array is returned as it is.
    """
    arrays = [_plain(x) if isinstance(x, np.ndarray) else x for x in arrays]
    wide = np.result_type(bool, *(x.dtype for x in arrays if isinstance(x, np.ndarray)))
    if wide.kind in "iub":
        wide = np.result_type(wide, np.int64)
    whole = [isinstance(x, np.ndarray) and x.dtype.kind in "iub" for x in arrays]
    return [x.astype(wide) if change else x for x, change in zip(arrays, whole)]


class Tensor:
    """An array with respect to which results can be differentiated.

    Parameters
    ----------
    data : array_like
        Numbers of any shape. An array keeps its precision, and is not copied unless its byte order
        is not the machine's.
    requires_grad : bool
        Whether `backward` adds ∂L/∂self to `grad`, an array of the shape of `data`, until `grad`
        is set to None. TypeError unless the data are floating.
    name : str, optional

    Notes
    -----
    Inside `no_grad`, ``x -= lr * x.grad`` changes the data in place, if x requires a gradient and
    is no result. Outside, it is a TypeError. Of any other Tensor, ``x += y`` is ``x = x + y``.
    Comparisons look at real parts and return plain masks.
    """

    __slots__ = ("__weakref__", "_record", "data", "grad", "name", "requires_grad")
    __array_ufunc__ = None  # so that ndarray * Tensor calls Tensor.__rmul__

    def __init__(self, data, requires_grad=False, name=None):
        if type(data) is not np.ndarray or data.dtype not in _NUMERIC:
            data = _plain(data)
        if requires_grad and data.dtype.kind not in "fc":
            raise TypeError(f"requires_grad needs floating data, but data is {data.dtype}")
        self.data, self.requires_grad, self.name = data, requires_grad, name
        self.grad = self._record = None

    shape = property(attrgetter("data.shape"), doc="Length of each axis, a tuple.")
    dtype = property(attrgetter("data.dtype"), doc="Type of the numbers, a numpy.dtype.")
    ndim = property(attrgetter("data.ndim"), doc="Number of axes.")
    size = property(attrgetter("data.size"), doc="Number of entries.")

    def __repr__(self):
        record = self._record
        made_by = f", made by {record.operation.__name__}" if record and record.pullback else ""
        name = f", name={self.name!r}" if self.name else ""
        return f"Tensor({self.data}, dtype={self.dtype}{name}{made_by})"

    __add__, __radd__ = _operator("add")
    __sub__, __rsub__ = _operator("subtract")
    __mul__, __rmul__ = _operator("multiply")
    __truediv__, __rtruediv__ = _operator("divide")
    __pow__, __rpow__ = _operator("power")
    __matmul__, __rmatmul__ = _operator("matmul")
    __iadd__, __isub__, __imul__ = map(_in_place, ("add", "subtract", "multiply"))
    __itruediv__, __ipow__, __imatmul__ = map(_in_place, ("divide", "power", "matmul"))

    __neg__, __abs__, __getitem__ = map(_method, ("negative", "absolute", "getitem"))

    def sum(self, axis=None, keepdims=False):
        """Sum over one axis, several axes or all."""
        return OPERATIONS["sum"](self, axis=axis, keepdims=keepdims)

    def mean(self, axis=None, keepdims=False):
        """Mean over one axis, several axes or all."""
        return OPERATIONS["mean"](self, axis=axis, keepdims=keepdims)

    def var(self, axis=None, keepdims=False, ddof=0):
        """Variance over one axis, several axes or all."""
        return OPERATIONS["var"](self, axis=axis, keepdims=keepdims, ddof=ddof)

    def max(self, axis=None, keepdims=False):
        """Largest entry along one axis, several axes or all."""
        return OPERATIONS["max"](self, axis=axis, keepdims=keepdims)

    def min(self, axis=None, keepdims=False):
        """Smallest entry along one axis, several axes or all."""
        return OPERATIONS["min"](self, axis=axis, keepdims=keepdims)

    def reshape(self, *shape):
        """The same entries in another shape: ``x.reshape(2, 3)`` or ``x.reshape((2, 3))``."""
        return OPERATIONS["reshape"](self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes):
        """The axes in another order, by default reversed."""
        return OPERATIONS["transpose"](self, axes[0] if len(axes) == 1 else axes or None)

    T = property(_method("transpose"), doc="`transpose` without arguments.")

    __eq__, __ne__ = _comparison(np.equal), _comparison(np.not_equal)
    __lt__, __le__ = _comparison(np.less), _comparison(np.less_equal)
    __gt__, __ge__ = _comparison(np.greater), _comparison(np.greater_equal)
    __hash__ = object.__hash__  # by identity, not by the data

    def __bool__(self):
        return bool(self.data.real)

    def __float__(self):
        return float(self.data)

    def __format__(self, style):
        return format(self.item(), style) if style else str(self)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __len__(self):
        return len(self.data)

    def __array__(self, dtype=None, copy=None):
        if self.requires_grad:
            raise TypeError("a NumPy function would lose the gradient: use geonet.ops or .data")
        return np.array(self.data, dtype=dtype, copy=copy)

    def __setitem__(self, index, value):
        raise TypeError(
            "a Tensor cannot be changed in place, because recorded operations rely on its values: "
            "make a new one with geonet.ops.where(mask, value, x), or change x.data before using x"
        )

    def item(self):
        """The only element, as a Python number."""
        return self.data.item()

    def detach(self):
        """A Tensor with the same data that does not know how it was made."""
        return Tensor(self.data, name=self.name)

    def retain_grad(self):
        """Ask `backward` to leave the gradient of this intermediate result in `grad` too."""
        if self._record is not None:
            self._record.tensor = weakref.ref(self)
        return self

    def backward(self, gradient=None, retain_graph=False):
        """Add ∂L/∂x to `grad` of each Tensor x that requires it and that this one was made from.

        Parameters
        ----------
        gradient : array_like, optional
            ∂L/∂self, of this shape. Not needed if self is a single number, L.
        retain_graph : bool
            Keep the recorded graph for another backward(). Otherwise it is freed on the way, with
            the memory of each activation, and a second backward() is a RuntimeError.
        """
        if not self.requires_grad:
            raise RuntimeError("backward: no input of this Tensor was made with requires_grad=True")
        data = self.data
        if gradient is None and data.size != 1:
            raise ValueError(f"gradient must be given for a Tensor of shape {data.shape}")
        gradient = np.array(1.0 if gradient is None else gradient, data.dtype, ndmin=data.ndim)
        if gradient.shape != data.shape:
            raise ValueError(f"gradient must have shape {data.shape}, but has {gradient.shape}")
        if self._record is None:
            return self._accumulate(gradient)
        newest_first = [(-self._record.number, self._record)]
        gradients = {self._record: gradient}
        while newest_first:
            record = heapq.heappop(newest_first)[-1]  # all newer ones, which may use it, are done
            if record.pullback is None:
                raise RuntimeError("backward() already freed this graph: call it with "
                                   "retain_graph=True")  # fmt: skip
            gradient = gradients.pop(record)
            if record.tensor is not None and (tensor := record.tensor()) is not None:
                tensor._accumulate(gradient)
            for x, contribution in _pull_back(record, gradient):
                if isinstance(x, Tensor):
                    x._accumulate(contribution)
                elif x in gradients:
                    gradients[x] = gradients[x] + contribution
                else:
                    gradients[x] = contribution
                    heapq.heappush(newest_first, (-x.number, x))
            if not retain_graph:
                record.inputs = record.pullback = record.tensor = None

    def _accumulate(self, gradient):
        # a copy, since the array may be shared or a read-only view
        self.grad = np.array(gradient) if self.grad is None else np.asarray(self.grad + gradient)


def gradient_of(tensor):
    """The gradient that `backward` left in a Tensor; 0 if none has reached it."""
    return np.zeros_like(tensor.data) if tensor.grad is None else tensor.grad


def _pull_back(record, gradient):
    """Pairs (input, its gradient) for every input of an operation that needs a gradient."""
    found, i, pairs = record.pullback, 0, []
    together = callable(found)
    try:
        if together:
            found = found(gradient, tuple([x is not None for x in record.inputs]))
        for i, x in enumerate(record.inputs):
            if x is not None:
                contribution = found[i] if together else found[i](gradient)
                if contribution.shape != x.shape or contribution.dtype is not x.dtype:
                    contribution = _unbroadcast(contribution, x.shape, x.dtype, record, i)
                pairs.append((x, contribution))
    except (TypeError, AttributeError, IndexError) as error:
        raise TypeError(f"{record.operation.__name__} has no pullback for its input {i} that "
                        f"returns an array: {error}") from error  # fmt: skip
    return pairs


def _unbroadcast(gradient, shape, dtype, record, i):
    """Undo broadcasting: sum the gradient over the axes along which NumPy repeated the input."""
    if gradient.shape != shape:
        if gradient.ndim > len(shape):  # axes that NumPy added in front
            gradient = np.add.reduce(gradient, axis=tuple(range(gradient.ndim - len(shape))))
        if gradient.ndim == len(shape) and gradient.shape != shape:  # axes of 1 that it stretched
            stretched = tuple(k for k, n in enumerate(shape) if n == 1)
            gradient = gradient.sum(axis=stretched, keepdims=True)
        if gradient.shape != shape:
            raise ValueError(f"{record.operation.__name__}: the pullback to input {i} gives shape "
                             f"{gradient.shape}, but the input has {shape}")  # fmt: skip
    if dtype.kind in "iub" and gradient.dtype.kind in "fc":  # the data were exchanged
        raise ValueError(f"{record.operation.__name__}: input {i} requires a gradient, so its data "
                         f"must be floating, but are {dtype}")  # fmt: skip
    constant = gradient.dtype.kind == "c" != dtype.kind  # beside one that takes a complex step
    return gradient if constant or gradient.dtype is dtype else gradient.astype(dtype)


def primitive(function=None, *, as_given=False, **examples):
    """Make a differentiable operation from a function that maps arrays to (value, pullback).

    `pullback` is a tuple with one function of the gradient for each input (None for an index or a
    mask). If these share work, it is one function ``pullback(gradient, needs)`` that returns the
    gradients of all inputs. Forward and pullback must accept complex arrays. `examples` tell
    gradcheck where to test the operation: ``domain=(low, high)``, or ``samples=function(rng)``,
    which returns a list of (args, options).

    Operations of geonet.ops get `exact` arrays, except those under `as_given`, which only move
    numbers, or take an index or a mask. A function of one's own gets its arrays as they are given.
    """
    if function is None:
        return functools.partial(primitive, as_given=as_given, **examples)
    ours = str(getattr(function, "__module__", "")).startswith("geonet.ops.")  # not a user's own
    computes = ours and not as_given

    @functools.wraps(function)
    def operation(*inputs, **options):
        if options and any(
            isinstance(o, (Tensor, np.ndarray, np.generic)) for o in options.values()
        ):
            bound = inspect.signature(function).bind(*inputs, **options)
            bound.apply_defaults()  # so that every array becomes an input
            inputs, options = bound.args, bound.kwargs
        arrays, records, recording, floating = [], [], False, True
        for x in inputs:
            if isinstance(x, Tensor):
                if x.requires_grad:  # so its data are floating
                    records.append(x._record or x)
                    arrays.append(x.data)
                    recording = True
                    continue
                x = x.data
            elif type(x) is not np.ndarray and (hasattr(x, "__array__") or (type(x) is list and x)):
                # NumPy scalars become Python numbers, which never widen a float32 array
                x = x.item() if isinstance(x, np.generic) else _plain(x)
            if type(x) is np.ndarray and x.dtype is not _FLOAT64 and x.dtype is not _FLOAT32:
                floating = False
            records.append(None)
            arrays.append(x)
        if not recording and arrays and np.ndarray not in map(type, arrays):
            arrays[0], floating = np.asarray(arrays[0]), False  # numbers alone
        if not floating and computes:
            arrays = exact(*arrays)
        made = function(*arrays, **options)
        value, pullback = made if type(made) is tuple and len(made) == 2 else (None, None)
        if type(value) is tuple or not (type(pullback) is tuple or callable(pullback)):
            raise TypeError(f"{function.__name__} must return (value, pullback): an array, and a "
                            f"tuple of functions of the gradient, one for each input")  # fmt: skip
        dtype = (result := Tensor(value)).data.dtype
        for x in arrays:
            if type(x) is not np.ndarray or x.dtype is dtype:
                continue
            if x.dtype.kind == dtype.kind == "f" and x.dtype.num != dtype.num:
                raise TypeError(f"{function.__name__} would turn {x.dtype} to {dtype}: cast first")
        if recording and is_recording():
            result.requires_grad = True
            result._record = Record(operation, records, pullback, result.data)
            for observer in observers():
                observer.on_operation(result._record, inputs, result.data)
        return result

    operation.is_primitive = True
    operation.examples = examples
    if ours:
        OPERATIONS[function.__name__] = operation
    return operation


as_given = primitive(as_given=True)  # for what does not compute, and for indices and labels


class Observer(ContextDecorator):
    """Observes a computation while it is recorded, inside ``with observer:``.

    Other threads are not observed, and an observer can be entered once at a time.

    The engine and the layers of `geonet.nn` call these methods of every entered observer, in the
    order of entering. A subclass overrides those that it needs.
    """

    def on_operation(self, record, inputs, value):
        """An operation was recorded: its Record, its inputs as given, and its value, an array."""

    def on_rows(self, layer, weight, bias):
        """A layer has made its weight (O, n) and bias (O,) or None; it uses the returned ones."""
        return weight, bias

    def on_output(self, layer, output):
        """The unit of a layer, or the layer alone, has made its output, a Tensor."""

    def __enter__(self):
        if self in observers():
            raise RuntimeError(f"this {type(self).__name__} is observing already")
        _observers.set((*observers(), self))
        return self

    def __exit__(self, *_):
        _observers.set(tuple(o for o in observers() if o is not self))


@contextmanager
def no_grad():
    """Record nothing inside: ``with no_grad():`` or ``@no_grad()``."""
    token = _recording.set(False)
    try:
        yield
    finally:
        _recording.reset(token)
