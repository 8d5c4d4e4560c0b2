"""What the tests of operations share: arguments as Tensors, gradients to pull back, plain sums."""

import math

import numpy as np

from geonet import Tensor


def is_floating(argument):
    return isinstance(argument, np.ndarray | np.floating) and argument.dtype.kind == "f"


def convert(arguments, change):
    """The arguments with each floating one changed."""
    return [change(np.asarray(a)) if is_floating(a) else a for a in arguments]


def some_gradient(shape, dtype):
    """Numbers of both signs, none of them equal."""
    return np.cos(1 + np.arange(math.prod(shape))).reshape(shape).astype(dtype)


def whole(operation, arguments, dtype):
    """Each floating argument replaced by whole numbers of this type: as far from 0 as it allows,
    or 0 to 1 or 2 where the operation is defined on a small domain."""
    info = np.iinfo(np.uint8 if dtype is bool else dtype)
    low, high = operation.examples.get("domain", (max(info.min, -(10**6)), min(info.max, 10**6)))
    low, high = max(math.ceil(low), info.min), math.floor(high)

    def spread(a):
        return np.clip(np.rint((low + high) / 2 + a * (high - low) / 4), low, high).astype(dtype)

    return convert(arguments, spread)


def value_and_gradients(operation, arguments, options=None):
    """The value, and the gradient of every floating argument for `some_gradient` of the value."""
    inputs = convert(arguments, lambda a: Tensor(a, requires_grad=True))
    output = operation(*inputs, **(options or {}))
    output.backward(some_gradient(output.shape, output.dtype))
    return output.data, [x.grad for x in inputs if isinstance(x, Tensor)]


def sum_over_copies(gradient, shape):
    """What an array of this shape gets if `gradient` is that of its broadcast copies."""
    source = np.broadcast_to(np.arange(math.prod(shape)).reshape(shape), gradient.shape)
    total = np.bincount(source.ravel(), gradient.ravel(), minlength=math.prod(shape))
    return total.reshape(shape)


def plain_direction(theta):
    """u(θ) by its definition, one factor after the other."""
    columns, sines = [], np.ones(len(theta), theta.dtype)
    for angle in theta.T:
        columns.append(sines * np.cos(angle))
        sines = sines * np.sin(angle)
    return np.stack([*columns, sines], axis=1)
