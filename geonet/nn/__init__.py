"""Modules, parameterizations, layers and normalizations."""

from geonet.lazy import lazily
from geonet.nn.layers import Conv2d, Linear, MaxPool2d, ResidualBlock, Unit
from geonet.nn.module import Module, Parameter, Sequential
from geonet.nn.normalization import BatchNorm, LayerNorm, MeanNorm
from geonet.nn.parameterizations import Geometric, Standard, WeightNorm

__all__ = [
    "BatchNorm",
    "Conv2d",
    "Geometric",
    "LayerNorm",
    "Linear",
    "MaxPool2d",
    "MeanNorm",
    "Module",
    "Parameter",
    "ResidualBlock",
    "Sequential",
    "Standard",
    "Unit",
    "WeightNorm",
    "convert",
    "export_torch",
    "import_torch",
]

__getattr__, __dir__ = lazily(
    __name__,
    {name: f"geonet.interop:{name}" for name in ("convert", "export_torch", "import_torch")},
)
