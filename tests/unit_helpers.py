"""Units with random parameters."""

import numpy as np

from geonet.models import mlp


def rng(seed=0):
    return np.random.default_rng(seed)


def randomized(unit, method, seed):
    """Parameters of either sign, γ and r included; a layer norm keeps its β of 0."""
    for i, (name, parameter) in enumerate(unit.named_parameters()):
        if method != "LN" or not name.endswith("beta"):
            parameter.data[...] = rng([seed, i]).normal(size=parameter.shape)
    return unit


def random_unit(method, n=3, units=5, seed=0):
    """A unit with random parameters, and statistics of other batches."""
    unit = randomized(mlp([n, units, 1], method, rng=rng(seed))[0], method, seed)
    for i in range(3):
        unit(rng([seed, i]).normal(i, 2, size=(9, n)))
    return unit
