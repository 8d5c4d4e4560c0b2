"""Operations on the axes of an array: reductions, shapes, indexing, joining.

g = ∂L/∂y is the gradient of the result; the arrow points to the gradients of the inputs.
"""

import math

import numpy as np

from geonet.tensor import Tensor, as_given, primitive

# Reductions ---------------------------------------------------------------------------------------


def _reductions(rng, shape=(2, 3, 4)):
    axes = [{}, {"axis": 1}, {"axis": (0, 2), "keepdims": True}, {"axis": -1, "keepdims": True}]
    return [((rng.normal(size=shape),), options) for options in axes]


def _kept(x, axis):
    """The shape of a reduction of x with the reduced axes kept, with length 1. NumPy lets 0-d
    arrays be reduced along axis 0 or -1, as if they had one."""
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    reduced = [a % (x.ndim or 1) for a in axes]
    return tuple(1 if k in reduced else n for k, n in enumerate(x.shape))


def _spread(g, x, axis):
    """g, of a reduction of x, at all the entries of x that were reduced."""
    return np.broadcast_to(g.reshape(_kept(x, axis)), x.shape)


def _count(x, axis):
    """The number of entries that a reduction combines into one."""
    return math.prod(n for n, kept in zip(x.shape, _kept(x, axis)) if n != kept)


@primitive(samples=_reductions)
def sum(x, axis=None, keepdims=False):
    """Sum over one axis, several axes or all, y = Σ x. g → g repeated."""
    return x.sum(axis=axis, keepdims=keepdims), (lambda g: _spread(g, x, axis),)


@as_given(samples=_reductions)
def mean(x, axis=None, keepdims=False):
    """Mean over one axis, several axes or all, y = Σ x / count. g → g / count, repeated."""
    count = _count(x, axis) or 1  # the gradient of a mean of nothing is as empty as x
    return x.mean(axis=axis, keepdims=keepdims), (lambda g: _spread(g / count, x, axis),)


@as_given(samples=_reductions)
def var(x, axis=None, keepdims=False, ddof=0):
    """Variance, Σ (x − mean)² / (count − ddof). g → 2 g (x − mean) / (count − ddof).
    Where ddof ≥ count it is infinite or NaN, with NumPy's warning, and the gradient NaN."""
    count = _count(x, axis)
    freedom = count - ddof if count > ddof else 0

    def deviation():
        return x - x.sum(axis=axis, keepdims=True) / (count or 1)

    def pullback(g):
        return _spread(g * (2 / freedom if freedom else np.nan), x, axis) * deviation()

    if x.dtype.kind == "c":  # NumPy's is the mean of |x − mean|², which is not differentiable
        return np.square(deviation()).sum(axis=axis, keepdims=keepdims) / freedom, (pullback,)
    return x.var(axis=axis, keepdims=keepdims, ddof=ddof), (pullback,)


def _extreme(x, axis, keepdims, find):
    """Largest or smallest entry, chosen by the real part; tied entries share the gradient."""
    real = np.real(x)

    def share():  # 1 at the entry that was found, 1/m at each of m tied entries
        chosen = real == find(real, axis=axis, keepdims=True)
        return chosen / chosen.sum(axis=axis, keepdims=True, dtype=real.dtype)

    if x.dtype.kind == "c":  # 0 · ∞ would be NaN
        value = (np.where(share(), x, 0) * share()).sum(axis=axis, keepdims=keepdims)
    else:
        value = find(x, axis=axis, keepdims=keepdims)
    return value, (lambda g: _spread(g, x, axis) * share(),)


@as_given(samples=_reductions)
def max(x, axis=None, keepdims=False):
    """Largest entry along one, several or all axes, max x. g → g at the largest, shared by ties."""
    return _extreme(x, axis, keepdims, np.max)


@as_given(samples=_reductions)
def min(x, axis=None, keepdims=False):
    """Smallest entry along one, several or all axes, min x. g → g there, shared by ties."""
    return _extreme(x, axis, keepdims, np.min)


# Shape --------------------------------------------------------------------------------------------


@as_given(samples=lambda rng: [((rng.normal(size=(2, 6)), (3, -1)), {})])
def reshape(x, shape):
    """x in another shape, with its entries in the same order. g → g in the old shape."""
    return x.reshape(shape), (lambda g: g.reshape(x.shape),)


@as_given(
    samples=lambda rng: [((rng.normal(size=(2, 3, 4)),), o) for o in ({}, {"axes": (1, 2, 0)})]
)
def transpose(x, axes=None):
    """x with its axes in another order, by default reversed. g → g in the old order."""
    back = None if axes is None else np.argsort(np.mod(axes, x.ndim or 1))
    return x.transpose(axes), (lambda g: g.transpose(back),)


def _indices(rng):
    x = rng.normal(size=(4, 3, 2))
    indices = (1, slice(None, None, -2), ([0, 2, 0], 1), np.arange(12).reshape(4, 3) % 3 == 0, None)
    return [((x, index), {}) for index in indices]


@as_given(samples=_indices)
def getitem(x, index):
    """x[index] by integers, slices, masks or integer arrays. g → zeros with g added at the index
    (an entry that is taken twice gets both gradients)."""

    def scatter(g):
        gradient = np.zeros(x.shape, g.dtype)
        parts = index if isinstance(index, tuple) else (index,)
        if all(np.asarray(part).dtype.kind == "b" for part in parts if np.ndim(part)):
            gradient[index] += g  # slices and masks take no entry twice
        else:
            np.add.at(gradient, index, g)
        return gradient

    return x[index], (scatter,)


@as_given(samples=lambda rng: [(tuple(rng.normal(size=(2, 2, 3))), {"axis": a}) for a in (0, -1)])
def join(*arrays, axis=0):
    """`concatenate` with arrays as separate arguments, x₁, x₂, … -> [x₁ x₂ …]. g → its pieces."""
    value = np.concatenate(arrays, axis)  # first, because it refuses what does not fit
    shapes = [np.shape(array) for array in arrays]
    cuts = np.cumsum([math.prod(s) if axis is None else s[axis] for s in shapes])[:-1]

    def pullback(g, needs):
        return [piece.reshape(s) for piece, s in zip(np.split(g, cuts, axis or 0), shapes)]

    return value, pullback


def concatenate(arrays, axis=0):
    """Join arrays along an existing axis, or all their entries in one row if the axis is None."""
    return join(*arrays, axis=axis)


def stack(arrays, axis=0):
    """Join arrays of the same shape along a new axis."""
    arrays = [array if isinstance(array, Tensor) else Tensor(array) for array in arrays]
    places = [(slice(None),) * (axis % (array.ndim + 1)) for array in arrays]
    return join(*(array[(*p, None)] for array, p in zip(arrays, places)), axis=axis)


@as_given(samples=lambda rng: [((rng.normal(size=(2, 3)), lambda g: None), {})])
def hook(x, function):
    """x itself, with a function that is called in the backward pass. g → function(g), or g if that
    is None. Use it to read a gradient, or to replace it by another one of the same shape."""

    def pullback(g):
        replaced = function(np.broadcast_to(g, g.shape))  # read-only: others may use g, too
        return g if replaced is None else np.asarray(replaced)

    return x, (pullback,)
