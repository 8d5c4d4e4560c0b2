"""Modules, parameterizations, layers and normalizations."""

from geonet.nn.layers import Linear, Unit
from geonet.nn.module import Module, Parameter, Sequential
from geonet.nn.normalization import BatchNorm, LayerNorm, MeanNorm
from geonet.nn.parameterizations import Geometric, Standard, WeightNorm

__all__ = [
    "BatchNorm",
    "Geometric",
    "LayerNorm",
    "Linear",
    "MeanNorm",
    "Module",
    "Parameter",
    "Sequential",
    "Standard",
    "Unit",
    "WeightNorm",
]
