"""The same network in another form: another parameterization, or PyTorch's names and layout."""

from geonet.interop.convert import convert
from geonet.interop.torch_names import export_torch, import_torch

__all__ = ["convert", "export_torch", "import_torch"]
