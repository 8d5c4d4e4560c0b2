"""Pooling of images (N, H, W, C).

g = ∂L/∂y is the gradient of the result; the arrow points to the gradients of the inputs.
"""

import numpy as np

from geonet.kernels import pooling as kernel
from geonet.tensor import as_given, primitive


def _windows(rng):
    """With and without overlap and padding, and with rows and columns that fill no window."""
    x = rng.normal(size=(2, 5, 4, 3))
    options = [{"stride": 1}, {"stride": 3}, {"padding": 1}, {"stride": 1, "padding": 1}]
    return [((x, 2), {}), *(((x, size), o) for size in (2, 3) for o in options), ((x[:1], 1), {})]


def _check_images(operation, x):
    if x.ndim != 4 or x.dtype.kind == "b":
        raise ValueError(f"{operation}: x must be images (N, H, W, C), but is {x.dtype} of shape "
                         f"{x.shape}")  # fmt: skip


def _checked_window(x, size, stride, padding):
    """Size, stride and padding, where the stride is the size unless given."""
    _check_images("max_pool2d", x)
    window = size, stride, padding = size, size if stride is None else stride, padding
    if not all(isinstance(number, int) for number in window):
        raise TypeError(f"max_pool2d: size, stride and padding must be integers, but are {window}")
    if size < 1 or stride < 1 or not 0 <= 2 * padding <= size:
        raise ValueError(f"max_pool2d: size and stride must be at least 1 and padding from 0 to "
                         f"size / 2, but are {size}, {stride} and {padding}")  # fmt: skip
    if min(x.shape[1:3]) + 2 * padding < size:
        raise ValueError(f"max_pool2d: x has shape {x.shape}, but a window of size {size} with "
                         f"padding {padding} needs images of at least {size - 2 * padding} pixels "
                         f"in both directions")  # fmt: skip
    return window


@as_given(samples=_windows)
def max_pool2d(x, size, stride=None, padding=0):
    """Largest entry of each size × size window, one every `stride` pixels (None: every `size`):
    x (N, H, W, C) -> (N, H', W', C) with H' = ⌊(H + 2 padding − size)/stride⌋ + 1, and W' likewise.
    Padding counts as −∞. g → g at the largest entry, the first if several tie."""
    window = _checked_window(x, size, stride, padding)
    value, position = kernel.max_pool(x, *window)
    shape = x.shape  # all that the pullback keeps of x
    return value, (lambda g: kernel.max_pool_pullback(g, position, shape, *window),)


@primitive(
    samples=lambda rng: [((rng.normal(size=(2, *shape, 3)),), {}) for shape in [(4, 5), (1, 1)]]
)
def global_average_pool(x):
    """Mean of each channel of each image: x (N, H, W, C) -> (N, C). g → g / (H W), repeated."""
    _check_images("global_average_pool", x)
    shape = x.shape

    def spread(g):
        return np.broadcast_to((g / (shape[1] * shape[2] or 1))[:, None, None], shape)

    return x.mean(axis=(1, 2)), (spread,)
