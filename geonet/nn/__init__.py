"""Modules, parameterizations, layers and normalizations."""

from geonet.lazy import lazily, public_names
from geonet.nn.layers import Conv2d, Linear, MaxPool2d, ResidualBlock, Unit
from geonet.nn.module import Module, Parameter, Sequential
from geonet.nn.normalization import BatchNorm, LayerNorm, MeanNorm
from geonet.nn.parameterizations import Cartesian, Geometric, Standard, WeightNorm

_moved = "convert", "export_torch", "import_torch"
__all__ = public_names(globals(), *_moved)
__getattr__, __dir__ = lazily(__name__, {name: f"geonet.interop:{name}" for name in _moved})
