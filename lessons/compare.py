"""A student's answer against the right one: shape, dtype, finite, values, in this order."""

import functools
from dataclasses import dataclass

import numpy as np

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
KINDS = {"b": "True and False", "i": "integers", "u": "integers", "f": "floats", "c": "complex"}
WHOLE = "the result"
ROUNDING = 64  # units in the last place of the largest number in play


@dataclass(frozen=True)
class Mistake:
    """What is wrong: the check that failed, a sentence, and the entry with both its numbers."""

    stage: str
    message: str
    entry: str = ""
    got: str = ""
    expected: str = ""


def difference(expected, got, exercise, arguments=()):
    """The first way in which an answer differs from the right one, or None.

    Parameters
    ----------
    expected, got : array, number, or tuple of these
    exercise : Exercise
        Its tolerance and kind.
    arguments : tuple
        What the answers were computed from: differences within the rounding of these pass.

    Returns
    -------
    Mistake or None
    """
    try:
        pairs = list(_pairs(expected, got, WHOLE))
    except _WrongShapeError as error:
        return Mistake("shape", str(error))
    magnitude = max([1.0, *map(_largest, (*arguments, expected))])
    values = functools.partial(_values, exercise=exercise, magnitude=magnitude)
    for check in (_shape, _dtype, _finite, values):
        for where, e, g in pairs:
            mistake = check(where, e, g)
            if mistake:
                return mistake
    return None


class _WrongShapeError(Exception):
    pass


def _pairs(expected, got, where):
    """Yield (where, expected, got) of every array or number."""
    if not isinstance(expected, tuple):
        yield where, expected, got
        return
    if not isinstance(got, tuple | list) or len(got) != len(expected):
        raise _WrongShapeError(f"{where} must be a tuple of {len(expected)}, but is {_kind(got)}")
    for word, e, g in zip(ORDINALS, expected, got):
        inner = f"the {word} result" if where == WHOLE else f"the {word} of {where}"
        yield from _pairs(e, g, inner)


def _kind(value):
    """What a value is, in words."""
    if value is None:
        return "None (is there a return?)"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if np.isscalar(value):
        return f"the number {_number(value)}" if not isinstance(value, str) else f"{value!r:.40}"
    return f"of type {type(value).__name__}"


def _shape(where, expected, got):
    what = "a number" if np.ndim(expected) == 0 else f"an array of shape {np.shape(expected)}"
    try:
        right = got is not None and np.shape(got) == np.shape(expected)
    except ValueError:  # lists of unequal lengths
        right = False
    if not right:
        return Mistake("shape", f"{where} must be {what}, but is {_kind(got)}")
    return None


def _dtype(where, expected, got):
    e, g = np.asarray(expected), np.asarray(got)
    if e.ndim and not isinstance(got, np.ndarray):
        return Mistake("dtype", f"{where} must be a NumPy array, but is {_kind(got)}")
    same = g.dtype == e.dtype or (e.dtype.kind in "iu" and g.dtype.kind in "iu")
    if not same and e.ndim == 0:  # a number: any float will do, and 0 for 0.0
        same = (e.dtype.kind, g.dtype.kind) in (("f", "f"), ("f", "i"), ("f", "u"), ("c", "c"))
    if same or e.dtype.kind not in KINDS:
        return None
    wanted = f"{KINDS[e.dtype.kind]} ({e.dtype})"
    return Mistake("dtype", f"{where} must hold {wanted}, but has dtype {g.dtype}")


def _finite(where, expected, got):
    e, g = np.asarray(expected), np.asarray(got)
    if e.dtype.kind not in "fc":
        return None
    bad = np.isfinite(e) & ~np.isfinite(g)
    if not bad.any():
        return None
    message = f"{np.count_nonzero(bad)} of {bad.size} numbers of {where} are NaN or infinite"
    return Mistake("finite", message, **_entry(tuple(np.argwhere(bad)[0]), e, g))


def _values(where, expected, got, exercise, magnitude):
    e, g = np.asarray(expected), np.asarray(got)
    with np.errstate(all="ignore"):
        if e.dtype.kind in "fc":
            excess = _excess(e, g, exercise, magnitude)
        else:
            excess = np.where(e == g, 0.0, np.inf)
        wrong = ~(excess <= 1)
    if not wrong.any():
        return None
    message = f"{np.count_nonzero(wrong)} of {wrong.size} entries of {where} are wrong"
    if wrong.size == 1:
        message = f"{where} is wrong"
    message += _pattern(e, g, wrong)
    worst = np.unravel_index(np.argmax(np.where(np.isnan(excess), np.inf, excess)), e.shape)
    return Mistake(exercise.kind, message, **_entry(worst, e, g))


def _excess(e, g, exercise, magnitude):
    """Error over what is allowed, entry by entry; NaN or infinity where only one is finite."""
    sizes = np.abs(np.where(np.isfinite(e), e, 0))
    columns = exercise.kind == "gradient" and e.ndim
    axes = tuple(range(e.ndim - 1)) if columns else None
    size = sizes.max(axis=axes, keepdims=True, initial=0.0)
    allowed = exercise.tolerance * size + ROUNDING * np.finfo(e.dtype).eps * magnitude
    alike = (e == g) | (np.isnan(e) & np.isnan(g))
    return np.where(alike, 0.0, np.abs(e - g) / allowed)


def _pattern(e, g, wrong):
    """What the errors have in common: a factor, or the columns they are in."""
    if e.dtype.kind != "f" or not np.isfinite(g).all() or not np.isfinite(e).all():
        return ""
    norm = np.sum(e * e)
    factor = np.sum(e * g) / norm if norm > 0 else 1.0
    alike = np.allclose(g, factor * e, rtol=1e-6, atol=1e-12 * norm**0.5)
    if alike and np.count_nonzero(e) > 1 and abs(factor - 1) > 1e-3:
        return f": every one is {factor:.6g} times the right one"
    if e.ndim and e.shape[-1] > 1:
        columns = np.flatnonzero(wrong.any(axis=tuple(range(e.ndim - 1))))
        if len(columns) < e.shape[-1] and e.ndim > 1:
            return f", all in column {', '.join(map(str, columns))} of 0 to {e.shape[-1] - 1}"
    return ""


def _entry(index, e, g):
    """The fields of a Mistake that tell of one entry."""
    got, expected = _number(g[index]), _number(e[index])
    if got == expected:  # to six digits
        got, expected = str(g[index]), str(e[index])
    return {"entry": str([int(i) for i in index]) if index else "", "got": got,
            "expected": expected}  # fmt: skip


def _number(value):
    return f"{value:.6g}" if np.asarray(value).dtype.kind in "fc" else str(value)


def _largest(value):
    """The largest finite number in an argument or an answer, in absolute value."""
    if isinstance(value, tuple | list):
        return max(map(_largest, value), default=0.0)
    if not isinstance(value, np.ndarray | np.number | int | float):
        return 0.0
    numbers = np.abs(np.asarray(value))
    if numbers.dtype.kind not in "iuf":
        return 0.0
    return float(np.max(numbers, where=np.isfinite(numbers), initial=0.0))
