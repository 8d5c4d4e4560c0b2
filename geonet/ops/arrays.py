"""Operations on the axes of an array: reductions, shapes, indexing, joining.

g = ∂L/∂y is the gradient of the result; the arrow points to the gradients of the inputs.
"""

import numpy as np

from geonet.tensor import Tensor, primitive

# Reductions ---------------------------------------------------------------------------------------


def _reductions(rng, shape=(2, 3, 4)):
    axes = [{}, {"axis": 1}, {"axis": (0, 2), "keepdims": True}, {"axis": -1, "keepdims": True}]
    return [((rng.normal(size=shape),), options) for options in axes]


def _restore(array, axis, ndim, keepdims):
    """Put back the axes that a reduction removed, with length 1."""
    if keepdims or axis is None:
        return np.reshape(array, (1,) * ndim) if axis is None else array
    return np.expand_dims(array, tuple(a % ndim for a in np.atleast_1d(axis)))


@primitive(samples=_reductions)
def sum(x, axis=None, keepdims=False):
    """Sum over one axis, several axes or all, y = Σ x. g → g repeated."""

    def spread(g):
        return np.broadcast_to(_restore(g, axis, x.ndim, keepdims), x.shape)

    return x.sum(axis=axis, keepdims=keepdims), (spread,)


def _count(x, axis):
    """The number of entries that a reduction combines into one."""
    return x.size if axis is None else int(np.prod([x.shape[a] for a in np.atleast_1d(axis)]))


@primitive(samples=_reductions)
def mean(x, axis=None, keepdims=False):
    """Mean over one axis, several axes or all, y = Σ x / count. g → g / count, repeated."""
    count = _count(x, axis)

    def spread(g):
        return np.broadcast_to(_restore(g / count, axis, x.ndim, keepdims), x.shape)

    return x.mean(axis=axis, keepdims=keepdims), (spread,)


@primitive(samples=_reductions)
def var(x, axis=None, keepdims=False, ddof=0):
    """Variance, Σ (x − mean)² / (count − ddof). g → 2 g (x − mean) / (count − ddof)."""
    deviation = x - x.mean(axis=axis, keepdims=True)
    scale = _count(x, axis) - ddof

    def pullback(g):
        return _restore(g, axis, x.ndim, keepdims) * (2 / scale) * deviation

    return (deviation * deviation).sum(axis=axis, keepdims=keepdims) / scale, (pullback,)


def _extreme(x, axis, keepdims, find):
    """Largest or smallest entry, chosen by the real part; tied entries share the gradient."""
    real = np.real(x)

    def share():  # 1 at the entry that was found, 1/m at each of m tied entries
        chosen = real == find(real, axis=axis, keepdims=True)
        return chosen / chosen.sum(axis=axis, keepdims=True, dtype=real.dtype)

    if x.dtype.kind == "c":
        value = (x * share()).sum(axis=axis, keepdims=keepdims)
    else:
        value = find(x, axis=axis, keepdims=keepdims)
    return value, (lambda g: _restore(g, axis, x.ndim, keepdims) * share(),)


@primitive(samples=_reductions)
def max(x, axis=None, keepdims=False):
    """Largest entry along one, several or all axes, max x. g → g at the largest, shared by ties."""
    return _extreme(x, axis, keepdims, np.max)


@primitive(samples=_reductions)
def min(x, axis=None, keepdims=False):
    """Smallest entry along one, several or all axes, min x. g → g there, shared by ties."""
    return _extreme(x, axis, keepdims, np.min)


# Shape --------------------------------------------------------------------------------------------


@primitive(samples=lambda rng: [((rng.normal(size=(2, 6)), (3, -1)), {})])
def reshape(x, shape):
    """x in another shape, with its entries in the same order. g → g in the old shape."""
    return x.reshape(shape), (lambda g: g.reshape(x.shape),)


@primitive(
    samples=lambda rng: [((rng.normal(size=(2, 3, 4)),), o) for o in ({}, {"axes": (1, 2, 0)})]
)
def transpose(x, axes=None):
    """x with its axes in another order, by default reversed. g → g in the old order."""
    back = None if axes is None else np.argsort(np.mod(axes, x.ndim))
    return x.transpose(axes), (lambda g: g.transpose(back),)


def _indices(rng):
    x = rng.normal(size=(4, 3, 2))
    indices = (1, slice(None, None, -2), ([0, 2, 0], 1), np.arange(12).reshape(4, 3) % 3 == 0, None)
    return [((x, index), {}) for index in indices]


@primitive(samples=_indices)
def getitem(x, index):
    """x[index] by integers, slices, masks or integer arrays. g → zeros with g added at the index
    (an entry that is taken twice gets both gradients)."""

    def scatter(g):
        gradient = np.zeros(x.shape, g.dtype)
        np.add.at(gradient, index, g)
        return gradient

    return x[index], (scatter,)


@primitive(samples=lambda rng: [(tuple(rng.normal(size=(2, 2, 3))), {"axis": a}) for a in (0, -1)])
def join(*arrays, axis=0):
    """`concatenate` with arrays as separate arguments, x₁, x₂, … -> [x₁ x₂ …]. g → its pieces."""
    cuts = np.cumsum([array.shape[axis] for array in arrays])[:-1]
    return np.concatenate(arrays, axis), lambda g, needs: np.split(g, cuts, axis)


def concatenate(arrays, axis=0):
    """Join arrays along an existing axis."""
    return join(*arrays, axis=axis)


def stack(arrays, axis=0):
    """Join arrays of the same shape along a new axis."""
    arrays = [array if isinstance(array, Tensor) else Tensor(array) for array in arrays]
    place = (slice(None),) * (axis % (arrays[0].ndim + 1))
    return join(*(array[(*place, None)] for array in arrays), axis=axis)


@primitive(samples=lambda rng: [((rng.normal(size=(2, 3)), lambda g: None), {})])
def hook(x, function):
    """x itself, with a function that is called in the backward pass. g → function(g), or g if that
    is None. Use it to read a gradient, or to replace it by another one of the same shape."""

    def pullback(g):
        replaced = function(g)
        return g if replaced is None else np.asarray(replaced)

    return x, (pullback,)
