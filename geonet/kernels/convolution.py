"""Convolution (cross-correlation, as usual in networks) by the fastest of three routes.

    x      (N, H, W, C)     images                    stride s, padding p: pairs of numbers for
    weight (O, kh, kw, C)   filters                   height and width; the padding is zeros on
    bias   (O,)             or None                   every side
    y, g   (N, H', W', O)   result, and ∂L/∂y         H' = ⌊(H + 2p − kh)/s⌋ + 1

y[n,a,b,o] = bias[o] + Σᵢⱼ꜀ x[n, s a + i − p, s b + j − p, c] weight[o,i,j,c]

A route is a module with `forward(x, weight, bias, stride, padding)`, which gives y, and
`pullback(g, x, weight, stride, padding, needs)`, which gives ∂L/∂x and ∂L/∂weight.
"""

import math

import numpy as np

from geonet.kernels import im2col, shifted_products, winograd
from geonet.text import check_choice

ROUTES = {"im2col": im2col, "shifted": shifted_products, "winograd": winograd}


def choose(x_shape, weight_shape, stride, padding, dtype):
    """Name of the route that is fastest for arrays of these shapes and of this dtype.

    The rules are from measurements, forward and backward together. Below 16 channels, windows are
    short and cheap to copy, and the matrix products of the other routes are narrow: im2col.
    Winograd's route takes 36 products for a 4×4 tile, where the others take 9 for each of its
    pixels. This pays off if it saves about 2¹³ products for each weight, because weights are
    transformed too (at 8×8 pixels a batch of 16 breaks even). It also needs at least 16 × 32
    channels, because it pads them to multiples of 32. All other cases use shifted products.
    """
    (units, *kernel, channels), images = weight_shape, x_shape[0]
    if channels < 16:
        return "im2col"
    suits = kernel == [3, 3] and stride == (1, 1) and dtype in (np.float32, np.float64)
    if suits and units * channels >= 16 * 32:
        height, width = im2col.output_size(x_shape[1:3], kernel, stride, padding)
        tiles = math.ceil(height / 4) * math.ceil(width / 4)
        if images * (9 * height * width - 36 * tiles) > 2**13:
            return "winograd"
    return "shifted"


def conv2d(x, weight, bias, stride, padding, route=None):
    """y (N, H', W', O).

    Parameters
    ----------
    x, weight : numpy.ndarray
        (N, H, W, C) and (O, kh, kw, C).
    bias : numpy.ndarray or None
        (O,).
    stride, padding : (int, int)
    route : str, optional
        One of `ROUTES`; by default `choose` decides.

    Raises
    ------
    ValueError
        If shapes do not match, the kernel is larger than the padded image, a stride is below 1, a
        padding is below 0, or the route is unknown or not for this kernel and stride.
    """
    _check(x.shape, weight.shape, None if bias is None else bias.shape, stride, padding)
    x, weight, bias = _alike(x, weight, bias)
    return _route(route, x, weight, stride, padding).forward(x, weight, bias, stride, padding)


def conv2d_pullback(g, x, weight, stride, padding, needs, route=None):
    """∂L/∂x, ∂L/∂weight and ∂L/∂bias for g = ∂L/∂y, each None unless needed.

    Parameters
    ----------
    g, x, weight : numpy.ndarray
        (N, H', W', O), (N, H, W, C) and (O, kh, kw, C).
    stride, padding, route
        As for `conv2d`.
    needs : (bool, bool, bool)
    """
    to_x = to_weight = to_bias = None
    if needs[0] or needs[1]:
        g, x, weight = _alike(g, x, weight)
        module = _route(route, x, weight, stride, padding)
        to_x, to_weight = module.pullback(g, x, weight, stride, padding, needs[:2])
    if needs[2]:  # the sums of images are added in float64
        sums = g.sum(axis=(1, 2))
        to_bias = sums.sum(axis=0, dtype=np.result_type(g, np.float64)).astype(g.dtype)
    return to_x, to_weight, to_bias


def _alike(*arrays):
    """The arrays (or None) in one dtype that can hold them all."""
    dtype = np.result_type(*(array for array in arrays if array is not None))
    return [array if array is None else array.astype(dtype, copy=False) for array in arrays]


def _route(name, x, weight, stride, padding):
    """The module of a route, or of the fastest one if the name is None."""
    if name is None:
        name = choose(x.shape, weight.shape, stride, padding, x.dtype)
    check_choice("conv2d: route", name, ROUTES)
    if name == "winograd" and (weight.shape[1:3], stride) != ((3, 3), (1, 1)):
        raise ValueError(f"conv2d: route 'winograd' is for 3×3 kernels at stride 1, but weight has "
                         f"shape {weight.shape} and stride is {stride}")  # fmt: skip
    return ROUTES[name]


def _check(x_shape, weight_shape, bias_shape, stride, padding):
    if len(x_shape) != 4 or len(weight_shape) != 4 or 0 in weight_shape:
        raise ValueError(f"conv2d: x must be (N, H, W, C) and weight (O, kh, kw, C) without a 0, "
                         f"but are {x_shape} and {weight_shape}")  # fmt: skip
    if x_shape[3] != weight_shape[3]:
        raise ValueError(f"conv2d: x has shape {x_shape} with {x_shape[3]} channels, but weight "
                         f"{weight_shape} takes {weight_shape[3]}")  # fmt: skip
    if bias_shape not in (None, weight_shape[:1]):
        raise ValueError(f"conv2d: bias has shape {bias_shape}, but weight {weight_shape} needs "
                         f"{weight_shape[:1]}")  # fmt: skip
    if min(stride) < 1 or min(padding) < 0:
        raise ValueError(f"conv2d: stride must be at least 1 and padding at least 0, but are "
                         f"{stride} and {padding}")  # fmt: skip
    if min(im2col.output_size(x_shape[1:3], weight_shape[1:3], stride, padding)) < 1:
        raise ValueError(f"conv2d: x has shape {x_shape}, but weight {weight_shape} with padding "
                         f"{padding} needs larger images")  # fmt: skip
