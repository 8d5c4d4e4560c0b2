"""Convolution of images.

g = ∂L/∂y is the gradient of the result; the arrow points to the gradients of the inputs.
"""

from numbers import Integral

from geonet.kernels import convolution as kernel
from geonet.tensor import primitive


def _pair(name, value):
    pair = value if isinstance(value, tuple) else (value, value)
    if len(pair) != 2 or not all(isinstance(number, Integral) for number in pair):
        raise TypeError(f"conv2d: {name} must be an int or a pair of them, but is {value!r}")
    return int(pair[0]), int(pair[1])  # NumPy's small integers would overflow


def _images_and_filters(rng):
    def sample(image, filters, *rest, **options):
        arrays = [rng.normal(size=shape) for shape in (image, filters, filters[:1])]
        return (*arrays, *rest), options

    return [
        sample((2, 4, 3, 2), (3, 3, 3, 2), padding=1),
        sample((1, 5, 4, 2), (2, 3, 2, 2), (2, 1), (0, 1)),
        sample((2, 3, 3, 1), (2, 1, 1, 1), stride=2),
        sample((1, 1, 1, 2), (1, 3, 3, 2), stride=3, padding=(1, 2)),
        ((rng.normal(size=(1, 3, 4, 2)), rng.normal(size=(2, 3, 3, 2))), {}),
        *(sample((1, 3, 5, 1), (2, 3, 3, 1), padding=1, route=name) for name in kernel.ROUTES),
    ]


@primitive(samples=_images_and_filters)
def conv2d(x, weight, bias=None, stride=1, padding=0, route=None):
    """Convolution of images with filters (cross-correlation, as usual in networks):
    x (N, H, W, C), weight (O, kh, kw, C), bias (O,) -> y (N, H', W', O), padded with zeros, where
    y[n,a,b,o] = bias[o] + Σ x[n, s a + i − p, s b + j − p, c] weight[o,i,j,c], sum over i, j, c.
    g → Σ g[n,a,b,o] weight[o,i,j,c] over the a, b, i, j that meet at a pixel, and over o;
    Σ g[n,a,b,o] x[n, s a + i − p, s b + j − p, c] over n, a, b; Σ g[n,a,b,o] over n, a, b.

    Parameters
    ----------
    x, weight, bias : array_like
        The bias may be None.
    stride, padding : int or (int, int)
        s and p, for height and width; H' = ⌊(H + 2p − kh)/s⌋ + 1.
    route : {None, "im2col", "shifted", "winograd"}
        The algorithm. None takes the fastest one; "winograd" is for 3×3 filters at stride 1.

    Raises
    ------
    ValueError
        If shapes do not match, or stride, padding or route is not possible.
    TypeError
        If stride or padding is neither an int nor a pair of ints.
    """
    stride, padding = _pair("stride", stride), _pair("padding", padding)

    def pullback(g, needs):
        needs = *needs[:3], *[False] * (3 - len(needs))
        return kernel.conv2d_pullback(g, x, weight, stride, padding, needs, route)

    return kernel.conv2d(x, weight, bias, stride, padding, route), pullback
