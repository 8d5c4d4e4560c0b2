"""Where NaN or infinity first appeared in training."""

import numpy as np

from geonet.nn import Sequential
from geonet.tensor import no_grad


class Diverged(ArithmeticError):
    """Training met NaN or infinity.

    Attributes
    ----------
    step : int
        Updates made before.
    layer : str
        Dotted name of the first module with such a number, or "the model".
    quantity : str
        What is not finite, for example "output" or "gradient of theta".
    """

    def __init__(self, step, layer, quantity):
        super().__init__(
            f"training diverged after {step} steps: {quantity} of {layer} is not finite"
        )
        self.step, self.layer, self.quantity = step, layer, quantity


def _owner(name):
    """The module and the quantity in the dotted name of a parameter."""
    layer, _, quantity = name.rpartition(".")
    return layer or "the model", quantity


def check_parameters(parameters, step):
    """Raise `Diverged` at the first of (name, parameter) pairs with values that are not finite."""
    for name, parameter in parameters:
        if not np.isfinite(parameter.data).all():
            raise Diverged(step, *_owner(name))


def check_gradients(parameters, step):
    """The same as `check_parameters` for gradients."""
    for name, parameter in parameters:
        if parameter.grad is not None and not np.isfinite(parameter.grad).all():
            layer, quantity = _owner(name)
            raise Diverged(step, layer, f"gradient of {quantity}")


def locate_divergence(model, x, step):
    """Raise `Diverged` with the first module with a parameter or an output that is not finite."""
    check_parameters(model.named_parameters(), step)
    stages = {"the model": model}
    if isinstance(model, Sequential):
        stages = {f"steps.{i}": stage for i, stage in enumerate(model.steps)}
    with no_grad(), np.errstate(all="ignore"):
        for name, stage in stages.items():
            x = stage(x)
            if not np.isfinite(x.data).all():
                raise Diverged(step, name, "output")
    raise Diverged(step, "the model", "loss")
