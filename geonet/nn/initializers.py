"""Initial weights, by name.

All of them draw rows (O, n) in float64, from a given generator. With fan-in n and fan-out m:

=================  ===================================================================
name               distribution of an entry
=================  ===================================================================
glorot_uniform     uniform on ±√(6/(n+m))                     (Glorot & Bengio 2010)
glorot_normal      normal, variance 2/(n+m)
he_uniform         uniform on ±√(6/n)                         (He et al. 2015)
he_normal          normal, variance 2/n
lecun_uniform      uniform on ±√(3/n)                         (LeCun et al. 1998)
lecun_normal       normal, variance 1/n
normal:S           normal, standard deviation S
uniform:S          uniform on ±S
orthogonal         orthonormal rows (columns if O > n)        (Saxe et al. 2014)
sphere             rows uniform on the unit sphere
=================  ===================================================================
"""

import numpy as np

from geonet.hypersphere import random_directions
from geonet.text import check_choice

NAMES = (
    *(f"{family}_{form}" for family in ("glorot", "he", "lecun") for form in ("uniform", "normal")),
    "normal:S",
    "uniform:S",
    "orthogonal",
    "sphere",
)


def _orthogonal(rows, columns, rng):
    tall = rng.normal(size=(max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))  # otherwise not uniform over orthogonal matrices (Mezzadri 2007)
    return q if rows >= columns else q.T


def parse(init):
    """Split the name of an initializer into its form and its scale.

    Parameters
    ----------
    init : str
        One of `NAMES`, with a positive number for S.

    Returns
    -------
    (str, float or None)

    Raises
    ------
    ValueError
        If the name is unknown or the scale is not a positive number.
    """
    name, _, scale = str(init).partition(":")
    if name not in ("normal", "uniform"):
        check_choice("init", init, NAMES)
        return name, None
    try:
        number = float(scale)
    except ValueError:
        number = np.nan
    if not 0 < number < np.inf:
        raise ValueError(f"init {init!r} needs a positive scale S, as in {name}:0.1")
    return name, number


def initial_weight(init, units, fan_in, fan_out, rng):
    """Draw the rows of a layer.

    Parameters
    ----------
    init : str
        One of `NAMES`.
    units, fan_in, fan_out : int
        Number of rows O, their length n, and the fan-out m that the Glorot forms use.
    rng : numpy.random.Generator

    Returns
    -------
    numpy.ndarray
        (O, n), float64.
    """
    name, scale = parse(init)
    shape = (units, fan_in)
    if name == "orthogonal":
        return _orthogonal(units, fan_in, rng)
    if name == "sphere":
        return random_directions(units, fan_in, rng)
    if scale is None:
        family, name = name.split("_")
        variances = {"glorot": 2 / (fan_in + fan_out), "he": 2 / fan_in, "lecun": 1 / fan_in}
        scale = np.sqrt(variances[family])
        if name == "uniform":
            scale *= np.sqrt(3)  # the half width of a uniform distribution of that variance
    return rng.normal(0, scale, shape) if name == "normal" else rng.uniform(-scale, scale, shape)
