"""What the tests of convolution share: shapes, arrays, and the sum that a convolution is."""

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from geonet.kernels.im2col import output_size


class Shapes(NamedTuple):
    """All that describes a convolution but the numbers."""

    x: tuple
    weight: tuple
    stride: tuple = (1, 1)
    padding: tuple = (0, 0)

    @property
    def y(self):
        size = output_size(self.x[1:3], self.weight[1:3], self.stride, self.padding)
        return self.x[0], *size, self.weight[0]


@st.composite
def convolutions(draw, kernels=(1, 2, 3, 4), strides=(1, 2, 3)):
    """Shapes that fit, images smaller than their kernel or than a tile included."""
    kernel, stride = ([draw(st.sampled_from(sizes)) for _ in "hw"] for sizes in (kernels, strides))
    padding = [draw(st.integers(0, 3)) for _ in "hw"]
    image = [draw(st.integers(max(1, side - 2 * pad), 9)) for side, pad in zip(kernel, padding)]
    images, channels, units = (draw(st.integers(1, 3)) for _ in "nco")
    x, weight = (images, *image, channels), (units, *kernel, channels)
    return Shapes(x, weight, tuple(stride), tuple(padding))


def arrays(shapes, seed=0, dtype=np.float64):
    """Random g, x, weight and bias."""
    rng = np.random.default_rng(seed)
    sizes = shapes.y, shapes.x, shapes.weight, shapes.weight[:1]
    return [rng.normal(size=size).astype(dtype) for size in sizes]


def plain_conv2d(x, weight, bias, stride, padding):
    """The sum over the window of each output position, one after the other."""
    x = np.pad(x, [(0, 0), *((pad, pad) for pad in padding), (0, 0)])
    kernel = weight.shape[1:3]
    size = output_size(x.shape[1:3], kernel, stride, (0, 0))
    y = np.zeros((len(x), *size, len(weight)), np.result_type(x, weight, bias))
    for a, b in np.ndindex(y.shape[1:3]):
        top, left = a * stride[0], b * stride[1]
        window = x[:, top : top + kernel[0], left : left + kernel[1]]
        y[:, a, b] = np.einsum("nijc,oijc->no", window, weight) + bias
    return y


def plain_pullback(g, x, weight, stride, padding):
    """∂L/∂x and ∂L/∂weight by the same windows: what was multiplied gets the other's share."""
    framed = np.pad(x, [(0, 0), *((pad, pad) for pad in padding), (0, 0)])
    kernel, dtype = weight.shape[1:3], np.result_type(g, x, weight)
    to_x, to_weight = np.zeros(framed.shape, dtype), np.zeros(weight.shape, dtype)
    for a, b in np.ndindex(g.shape[1:3]):
        rows = slice(a * stride[0], a * stride[0] + kernel[0])
        columns = slice(b * stride[1], b * stride[1] + kernel[1])
        to_x[:, rows, columns] += np.einsum("no,oijc->nijc", g[:, a, b], weight)
        to_weight += np.einsum("no,nijc->oijc", g[:, a, b], framed[:, rows, columns])
    (top, left), (height, width) = padding, x.shape[1:3]
    return to_x[:, top : top + height, left : left + width], to_weight


def relative_error(value, reference):
    """Of the whole array: ‖value − reference‖ / ‖reference‖, 0 for two arrays of zeros."""
    error = np.linalg.norm(np.subtract(value, reference))
    return error / np.linalg.norm(reference) if error else 0.0
