"""Is a gradient right? Of one function, of a whole model; and products with the Hessian."""

from geonet.check.gradcheck import GradientError, gradcheck
from geonet.check.hvp import hvp
from geonet.check.model import check_model

__all__ = ["GradientError", "check_model", "gradcheck", "hvp"]
