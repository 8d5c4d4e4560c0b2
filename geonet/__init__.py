"""geonet: neural characteristic activation analysis and geometric parameterization, in NumPy.

A reference implementation of W. Chen and H. Ge, arXiv 2305.15912.
"""

import sys

from geonet import characteristic, gradients, graph, hypersphere, interop, nn, ops, train
from geonet.check import check_model, gradcheck, hvp
from geonet.lazy import lazily, public_names
from geonet.models import METHODS
from geonet.tensor import Tensor, no_grad, primitive
from geonet.threads import keep_memory, set_threads

__version__ = "0.1.0"
_rooms = "characteristic", "gradients", "graph", "hypersphere", "interop", "nn", "ops", "train"
__all__ = public_names(globals(), "METHODS", "check", "models", *_rooms)

# Modules that import Pillow, Matplotlib or the reproduction are loaded at first use.
__getattr__, __dir__ = lazily(
    __name__, {n: f"{__name__}.{n}" for n in ("data", "experiments", "plots")}
)
sys.modules["geonet.gradcheck"] = sys.modules["geonet.check.gradcheck"]  # where it was before
