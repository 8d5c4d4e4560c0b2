"""The methods that the paper compares, and networks built by method."""

from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from geonet import nn, ops
from geonet.text import check_choice


class Method(NamedTuple):
    """A recipe for hidden layers and the output layer."""

    parameterization: str = "standard"
    normalization: str | None = None  # of NORMALIZATIONS
    bias: bool = True  # of the affine map, before any normalization
    output: str = "standard"  # the output layer's parameterization
    centred: bool = False  # whether the output of every ReLU is centred
    fan_out: str = "window"  # of convolutions, for initializers: see `geonet.nn.Conv2d`


METHODS = {
    "SP": Method(),
    "WN": Method("weight_norm", output="weight_norm"),
    "BN": Method(normalization="batch", bias=False),
    "LN": Method(normalization="layer"),
    "WN+MBN": Method("weight_norm", "mean", bias=False, output="weight_norm"),
    "GmP-C": Method("cartesian"),
    "GmP": Method("geometric"),
    "GmP+IMN": Method("geometric", centred=True),
}

NORMALIZATIONS = {  # each called with the number of features, and dtype=
    None: lambda features, dtype: None,
    "batch": nn.BatchNorm,
    "layer": nn.LayerNorm,
    "mean": partial(nn.MeanNorm, shift=True),
    "centre": nn.MeanNorm,
}


def recipe(method):
    """The `Method` of a name (or of itself).

    Raises
    ------
    ValueError
        If the name is not in `METHODS`; the message lists those that are.
    """
    if isinstance(method, Method):
        return method
    check_choice("method", method, METHODS)
    return METHODS[method]


def authors_start(method):
    """The same method, with convolutions that start as in the authors' code.

    Their Glorot initializers have a fan-out of kh·kw·O under SP, LN and BN, which are Keras' own
    layers, and only O under the other methods, which then start with larger weights. GmP-C, which
    they do not have, counts as GmP. Any method starts like all others again with
    ``method._replace(fan_out="window")``.

    Parameters
    ----------
    method : str or Method

    Returns
    -------
    Method
    """
    method = recipe(method)
    own_layers = method.parameterization != "standard"
    return method._replace(fan_out="filters" if own_layers else "window")


# The authors' code differs here: it has a bias before the normalization, and none after the mean.
_OTHER_BIAS = {
    "BN": Method(normalization="batch"),
    "WN+MBN": Method("weight_norm", "centre", output="weight_norm"),
}
PAPER_METHODS = {name: authors_start(method) for name, method in (METHODS | _OTHER_BIAS).items()}


def mlp(
    sizes,
    method="SP",
    *,
    rng,
    init="glorot_uniform",
    init_hidden=None,
    activation="relu",
    dtype=np.float64,
):
    """Multilayer perceptron: hidden layers of one method, and a linear output layer.

    For one state of `rng` and one initializer all methods draw the same weights. SP, WN, GmP-C and
    GmP even start from the same function (for a positively homogeneous activation).

    Parameters
    ----------
    sizes : sequence of int
        Inputs, units of each hidden layer, outputs.
    method : str or Method
        One of `METHODS`.
    rng : numpy.random.Generator
    init : str, default "glorot_uniform"
        One of `geonet.nn.initializers.NAMES`.
    init_hidden : str, optional
        Another one for the hidden layers; the output layer keeps `init`.
    activation : str
        Of the hidden layers.
    dtype : {numpy.float64, numpy.float32}, default float64

    Returns
    -------
    geonet.nn.Sequential
        Of `Unit`s, then one `Linear`; maps (N, sizes[0]) to (N, sizes[-1]).

    Raises
    ------
    ValueError
        If there are fewer than two sizes, or a name is unknown.

    Examples
    --------
    >>> model = mlp([1, 100, 1], "GmP", rng=np.random.default_rng(0))
    >>> model(np.zeros((50, 1))).shape
    (50, 1)
    """
    chosen = recipe(method)
    if len(sizes) < 2:
        raise ValueError(f"sizes must be [inputs, hidden, ..., outputs], but is {list(sizes)}")
    hidden, last = _options(init, init_hidden, rng=rng, dtype=dtype)
    pairs = pairwise(sizes[:-1])
    units = [_unit(nn.Linear, pair, chosen, activation=activation, **hidden) for pair in pairs]
    return nn.Sequential(*units, nn.Linear(sizes[-2], sizes[-1], chosen.output, **last))


VGG6_WIDTHS = 128, 128, 256, 256, 512, 512  # channels of the convolutions of the paper's network


def vgg6(method, *, widths=VGG6_WIDTHS, num_classes=1000, rng, width=1.0, **options):
    """VGG for images of 32×32 pixels and three colours, as in the paper's second experiment.

    3×3 convolutions that keep the size of the image, 2×2 max pooling after every second one, the
    mean over the remaining image, and a linear output layer. As in `mlp`, all methods start from
    the same weights.

    Parameters
    ----------
    method : str or Method
        One of `METHODS`. Centred units centre their output before the pooling.
    widths : sequence of int
        Channels of each convolution.
    num_classes : int
    rng : numpy.random.Generator
    width : float
        Multiplies all widths, which are then rounded to whole channels, at least one.
    init, init_hidden
        As for `mlp`.
    dtype : {numpy.float64, numpy.float32}, default float32

    Returns
    -------
    geonet.nn.Sequential
        Of `Unit`s and poolings, then one `Linear`; maps (N, H, W, 3) to (N, num_classes).

    Raises
    ------
    ValueError
        If there are no widths, the multiplier is not positive, or a name is unknown.

    Examples
    --------
    >>> model = vgg6("GmP", num_classes=10, width=0.25, rng=np.random.default_rng(0))
    >>> model(np.zeros((8, 32, 32, 3), np.float32)).shape
    (8, 10)
    """
    chosen = recipe(method)
    if not len(widths):
        raise ValueError("widths must not be empty")
    hidden, last = _options(rng=rng, **options)
    channels = [3, *_widened(width, widths)]
    steps = []
    for number, pair in enumerate(pairwise(channels), start=1):
        steps.append(_unit(nn.Conv2d, (*pair, 3), chosen, padding=1, activation="relu", **hidden))
        if number % 2 == 0:
            steps.append(nn.MaxPool2d(2))
    output = nn.Linear(channels[-1], num_classes, chosen.output, **last)
    return nn.Sequential(*steps, ops.global_average_pool, output)


def _widened(width, channels):
    """Numbers of channels times the width, rounded, at least one."""
    if not 0 < width < np.inf:
        raise ValueError(f"width must be a positive number, but is {width}")
    return [max(1, round(width * number)) for number in channels]


STAGES = (64, 128, 256, 512)  # channels of a ResNet's four stages; all but the first halve images
BOTTLENECK = 4  # output channels of a bottleneck for each channel in its middle
STEMS = "imagenet", "unpadded", "small"


def resnet18(method, **options):
    """ResNet-18: 2, 2, 2, 2 basic blocks. Options and result are those of `resnet50`."""
    return _resnet((2, 2, 2, 2), _basic_branch, method, **options)


def resnet34(method, **options):
    """ResNet-34: 3, 4, 6, 3 basic blocks. Options and result are those of `resnet50`."""
    return _resnet((3, 4, 6, 3), _basic_branch, method, **options)


def resnet50(method, **options):
    """ResNet-50: 3, 4, 6, 3 bottleneck blocks, with the stride in their 3×3 convolution.

    This is table 1 of He et al. (2016), with the stride placed as in torchvision: a stem, four
    stages of residual blocks, the mean over the remaining image, and a linear output layer. Every
    convolution is a `Unit` of the method; the last of a branch, and the 1×1 convolution of a
    shortcut that changes the shape, are linear (see `geonet.nn.ResidualBlock`). A method with
    centring centres the output of every ReLU, the one after the sum too, and of nothing else.

    Parameters
    ----------
    method : str or Method
        One of `METHODS`.
    num_classes : int
        Default 1000.
    rng : numpy.random.Generator
    width : float
        Multiplies all channels except those of the images; rounded, at least one.
    stem : {"imagenet", "unpadded", "small"}
        A 7×7 convolution at stride 2 followed by a 3×3 max pooling at stride 2, whose input is
        padded by 1 or, as in the code of the paper's authors, not; or, for small images, a 3×3
        convolution at stride 1.
    init, init_hidden
        As for `mlp`.
    dtype : {numpy.float64, numpy.float32}, default float32

    Returns
    -------
    geonet.nn.Sequential
        Maps (N, H, W, 3) to (N, num_classes). Under BN it has as many parameters as torchvision's.

    Raises
    ------
    ValueError
        If the multiplier is not positive, or a name is unknown.

    Examples
    --------
    >>> model = resnet18("GmP+IMN", num_classes=10, width=0.25, rng=np.random.default_rng(0))
    >>> model(np.zeros((2, 64, 64, 3), np.float32)).shape
    (2, 10)
    """
    return _resnet((3, 4, 6, 3), _bottleneck_branch, method, **options)


def _resnet(depths, branch, method, *, num_classes=1000, width=1.0, stem="imagenet", **options):
    check_choice("stem", stem, STEMS)
    chosen, (hidden, last) = recipe(method), _options(**options)

    def unit(inputs, outputs, size, stride=1, activation="relu"):
        sizes = inputs, outputs, size, stride, size // 2
        return _unit(nn.Conv2d, sizes, chosen, activation=activation, **hidden)

    stages = _widened(width, STAGES)
    channels = stages[0]
    steps = [unit(3, channels, 3)]
    if stem != "small":
        steps = [unit(3, channels, 7, 2), nn.MaxPool2d(3, 2, int(stem == "imagenet"))]
    for stage, (middle, depth) in enumerate(zip(stages, depths)):
        for block in range(depth):
            stride = 2 if stage and not block else 1
            units, outputs = branch(unit, channels, middle, stride)
            changed = stride > 1 or outputs != channels
            shortcut = unit(channels, outputs, 1, stride, None) if changed else None
            centring = nn.MeanNorm(outputs, dtype=hidden["dtype"]) if chosen.centred else None
            steps.append(nn.ResidualBlock(units, shortcut, centring))
            channels = outputs
    output = nn.Linear(channels, num_classes, chosen.output, **last)
    return nn.Sequential(*steps, ops.global_average_pool, output)


def _basic_branch(unit, channels, middle, stride):
    """Two 3×3 convolutions, and their number of output channels."""
    return [unit(channels, middle, 3, stride), unit(middle, middle, 3, 1, None)], middle


def _bottleneck_branch(unit, channels, middle, stride):
    """Convolutions 1×1 to fewer channels, 3×3, and 1×1 to more; and the number of outputs."""
    outputs = BOTTLENECK * middle
    units = unit(channels, middle, 1), unit(middle, middle, 3, stride)
    return [*units, unit(middle, outputs, 1, 1, None)], outputs


def _options(init="glorot_uniform", init_hidden=None, *, rng, dtype=np.float32):
    """Options of the hidden layers, and those of the output layer."""
    last = {"rng": rng, "init": init, "dtype": dtype}
    return last if init_hidden is None else last | {"init": init_hidden}, last


def _unit(kind, sizes, chosen, *, activation, dtype, **options):
    """A hidden `Unit` of a `Method`: a layer with its normalization and centring."""
    rows = {"parameterization": chosen.parameterization, "bias": chosen.bias}
    if kind is nn.Conv2d:
        rows["fan_out"] = chosen.fan_out
    layer = kind(*sizes, **rows, activation=activation, dtype=dtype, **options)
    normalization = NORMALIZATIONS[chosen.normalization](sizes[1], dtype=dtype)
    centring = nn.MeanNorm(sizes[1], dtype=dtype) if chosen.centred and activation else None
    return nn.Unit(layer, normalization, centring)
