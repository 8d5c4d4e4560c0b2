"""geonet: neural characteristic activation analysis and geometric parameterization, in NumPy.

A reference implementation of W. Chen and H. Ge, arXiv 2305.15912.
"""

from geonet import characteristic, gradients, graph, hypersphere, models, nn, ops, train
from geonet.gradcheck import gradcheck
from geonet.hvp import hvp
from geonet.model_check import check_model
from geonet.models import METHODS
from geonet.tensor import Tensor, no_grad, primitive

__version__ = "0.1.0"

__all__ = [
    "METHODS",
    "Tensor",
    "characteristic",
    "check_model",
    "gradcheck",
    "gradients",
    "graph",
    "hvp",
    "hypersphere",
    "models",
    "nn",
    "no_grad",
    "ops",
    "primitive",
    "train",
]
