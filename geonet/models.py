"""The methods that the paper compares, and networks built by method."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from geonet.nn import BatchNorm, LayerNorm, Linear, MeanNorm, Sequential, Unit


class Method(NamedTuple):
    """A recipe for hidden layers and the output layer."""

    parameterization: str = "standard"
    normalization: str | None = None  # of NORMALIZATIONS
    bias: bool = True  # of the affine map, before any normalization
    output: str = "standard"  # the output layer's parameterization
    centred: bool = False  # whether the outputs of hidden layers are centred


METHODS = {
    "SP": Method(),
    "WN": Method("weight_norm", output="weight_norm"),
    "BN": Method(normalization="batch", bias=False),
    "LN": Method(normalization="layer"),
    "WN+MBN": Method("weight_norm", "mean", bias=False, output="weight_norm"),
    "GmP": Method("geometric"),
    "GmP+IMN": Method("geometric", centred=True),
}

# Where the authors' code differs: a bias before the normalization, and none after the mean.
PAPER_METHODS = METHODS | {
    "BN": Method(normalization="batch"),
    "WN+MBN": Method("weight_norm", "centre", output="weight_norm"),
}

NORMALIZATIONS = {
    None: lambda features, dtype: None,
    "batch": lambda features, dtype: BatchNorm(features, dtype=dtype),
    "layer": lambda features, dtype: LayerNorm(features, dtype=dtype),
    "mean": lambda features, dtype: MeanNorm(features, shift=True, dtype=dtype),
    "centre": lambda features, dtype: MeanNorm(features, dtype=dtype),
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
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, but is {method!r}")
    return METHODS[method]


def mlp(sizes, method="SP", *, rng, init="glorot_uniform", activation="relu", dtype=np.float64):
    """Multilayer perceptron: hidden layers of one method, and a linear output layer.

    For one state of `rng` and one initializer all methods draw the same weights, and SP, WN and
    GmP start from the very same function (for a positively homogeneous activation).

    Parameters
    ----------
    sizes : sequence of int
        Inputs, units of each hidden layer, outputs.
    method : str or Method
        One of `METHODS`.
    rng : numpy.random.Generator
    init : str
        One of `geonet.nn.initializers.NAMES`.
    activation : str
        Of the hidden layers.
    dtype : {numpy.float64, numpy.float32}

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
    options = {"rng": rng, "init": init, "dtype": dtype}
    units = []
    for fan_in, fan_out in pairwise(sizes[:-1]):
        layer = Linear(
            fan_in, fan_out, chosen.parameterization, activation, bias=chosen.bias, **options
        )
        normalization = NORMALIZATIONS[chosen.normalization](fan_out, dtype)
        centring = MeanNorm(fan_out, dtype=dtype) if chosen.centred else None
        units.append(Unit(layer, normalization, centring))
    return Sequential(*units, Linear(sizes[-2], sizes[-1], chosen.output, **options))
