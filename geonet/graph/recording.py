"""Observers of operations while they are recorded: `watch`, for `trace`, and `anomalies`."""

import functools
import linecache
import sys
import traceback
from pathlib import Path
from typing import NamedTuple

import numpy as np

from geonet.graph.summary import described, not_finite, statistics
from geonet.nn.module import Module
from geonet.tensor import Observer, Tensor
from geonet.text import argument_names

PACKAGE = Path(__file__).parents[1]
USERS = "experiments", "bench", "__main__.py"  # parts of the package that count as user programs
ENGINE = "tensor.py", "ops", "graph"


class Line(NamedTuple):
    """A line of a program."""

    file: str
    number: int

    def __str__(self):
        """The path from the working folder or from the package's folder, or only the file name."""
        path = Path(self.file)
        within = [folder for folder in (Path.cwd(), PACKAGE.parent) if path.is_relative_to(folder)]
        shown = path.relative_to(within[0]).as_posix() if within else path.name
        return f"{shown}:{self.number}"

    @property
    def text(self):
        """The text of the line, if the file can still be read."""
        return linecache.getline(self.file, self.number).strip()


class Place(NamedTuple):
    """Where an operation was called: from which lines, and inside which modules."""

    line: Line | None = None  # of the user: the first one outside the library
    caller: Line | None = None  # in the library, through which that line called
    modules: tuple = ()  # those whose methods were running, the outermost first


@functools.cache
def _part(file):
    """The part of the library that a file belongs to; None for others."""
    path = Path(file)
    part = path.relative_to(PACKAGE).parts[0] if path.is_relative_to(PACKAGE) else None
    return None if part in USERS else part


def _place():
    """The `Place` of the operation that is being recorded."""
    line = caller = None
    modules = []
    for frame, number in traceback.walk_stack(sys._getframe(1)):
        code = frame.f_code
        if line is None and not code.co_filename.startswith("<frozen"):
            part, here = _part(code.co_filename), Line(code.co_filename, number)
            if part is None:
                line = here
            elif caller is None and part not in ENGINE:
                caller = here
        if code.co_varnames[:1] == ("self",):
            owner = frame.f_locals.get("self")
            if isinstance(owner, Module) and modules[-1:] != [owner]:
                modules.append(owner)
    return Place(line, caller, tuple(reversed(modules)))


class Note:
    """What is known of an operation when its Record is freed: value and gradient, as of a Tensor.

    By default only what the Record itself holds.
    """

    __slots__ = ("data", "grad", "inputs", "keeping", "others", "place", "pullback")

    def __init__(self, record, others, data=None, place=None):
        self.inputs, self.others = record.inputs, others  # a description of what is no node
        self.pullback = _pullback_names(record.pullback)
        self.data, self.place, self.grad, self.keeping = data, place or Place(), None, False

    def keep(self, gradient, _):
        """Add to the gradient, as backward() does for `grad`."""
        self.grad = gradient if self.grad is None else self.grad + gradient


def note_of(record):
    """The `Note` of an operation, also of one that was not watched."""
    if hasattr(record, "note"):
        return record.note
    if record.inputs is None:
        raise RuntimeError("trace: backward() has freed this graph: trace it before, or record it "
                           "inside geonet.graph.watch()")  # fmt: skip
    return Note(record, ["constant" if x is None else "" for x in record.inputs])


def _words(x, describe):
    """An input in words; an array in those of a function."""
    x = x.data if isinstance(x, Tensor) else x
    return describe(x) if isinstance(x, np.ndarray) else f"{x!r:.60}"


def _description(x):
    """What is said of an input that is no node; nothing of one that gets a gradient."""
    if isinstance(x, Tensor) and x.requires_grad:
        return ""
    return _words(x, lambda array: f"constant {array.shape} {array.dtype}")


def _pullback_names(pullback):
    """The names of the functions that pull back, one per input or one for all."""
    found = getattr(pullback, "original", pullback)
    functions = (found,) if callable(found) else found
    names = ("none" if f is None else getattr(f, "__name__", type(f).__name__) for f in functions)
    return ", ".join(name.strip("<>") for name in names)


def _seen(pullback, see):
    """A pullback that also calls see(g, gradients), with the gradients of all inputs."""

    def together(g, needs):
        if callable(pullback):
            found = pullback(g, needs)
        else:
            found = [f(g) if f and need else None for f, need in zip(pullback, needs)]
        see(g, found)
        return found

    together.original = getattr(pullback, "original", pullback)
    return together


class watch(Observer):
    """Keep what `trace` reports: ``with watch():`` around the forward pass.

    For every operation that is recorded inside, its value (not a copy), the line of the program and
    the module are kept as long as the graph's last Tensor exists, even when backward() has freed
    the graph. This takes the memory of all values. Operations of other Python threads are not seen.

    Parameters
    ----------
    gradients : bool
        Keep the gradient of every value as well; backward() may be called outside.
    """

    def __init__(self, gradients=False):
        self.gradients = gradients

    def on_operation(self, record, inputs, value):
        if not hasattr(record, "note"):  # an outer watch may have added it
            record.note = Note(record, [_description(x) for x in inputs], value, _place())
        if self.gradients and not record.note.keeping:
            record.note.keeping = True
            record.pullback = _seen(record.pullback, record.note.keep)


class Anomaly(ArithmeticError):
    """An operation gave NaN or infinity, forward or backward.

    Attributes
    ----------
    operation : str
    line : str
        Where the user's program called it, as file:number; empty if unknown.
    backward : bool
        Whether it was the pullback.
    """

    def __init__(self, message, operation="", line="", backward=False):
        super().__init__(message)  # the only argument, because pickle passes only this one back
        self.operation, self.line, self.backward = operation, line, backward


def _complaint(what, inputs, place):
    """The message of an `Anomaly`."""
    lines = [f"  {name}: {_words(x, described)}" for name, x in inputs]
    named = place.modules[0].named_modules() if place.modules else ()
    path = next((path for path, module in named if module is place.modules[-1]), "")
    inside = f" in {path}" if path else ""
    text = f": {place.line.text}" if place.line and place.line.text else ""
    return "\n".join([what, *lines, f"called at {place.line or '?'}{inside}{text}"])


class anomalies(Observer):
    """Stop at the first NaN or infinity: ``with anomalies():`` around forward and backward.

    Every recorded value and every gradient is checked; inside `no_grad` nothing is recorded. The
    inputs of all operations are kept until the graph is freed. NumPy's own warnings are silent
    inside, because the error that follows says more.

    Raises
    ------
    Anomaly
        With the operation, shapes and ranges of its inputs, and the user's line that called it.
    """

    def __enter__(self):
        super().__enter__()
        self._silence = np.errstate(over="ignore", invalid="ignore", divide="ignore")
        self._silence.__enter__()
        return self

    def __exit__(self, *error):
        super().__exit__()
        self._silence.__exit__(*error)

    def on_operation(self, record, inputs, value):
        place, operation = _place(), record.operation.__name__
        names, needed = argument_names(record.operation, len(inputs)), record.inputs
        given = [*zip(names, inputs)]

        def check(what, array, backward, *more):
            if not np.isfinite(array).all():
                what = f"{what}: {not_finite(statistics(array))} of {array.size} entries"
                message = _complaint(what, [*given, *more], place)
                raise Anomaly(message, operation, str(place.line or ""), backward)

        def see(g, found):
            check(f"the gradient that reaches {operation} in the backward pass", g, True)
            for name, x, gradient in zip(names, needed, found):
                if x is not None and gradient is not None:
                    what = f"the pullback of {operation} to {name}"
                    check(what, gradient, True, ("gradient of the result", g))

        check(f"the result of {operation}", value, False)
        record.pullback = _seen(record.pullback, see)
