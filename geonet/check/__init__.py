"""Checks of the gradients of a function or a whole model, and products with the Hessian."""

from geonet.check.gradcheck import GradientError, check_model, gradcheck
from geonet.check.hvp import hvp

__all__ = ["GradientError", "check_model", "gradcheck", "hvp"]
