"""Where NaN or infinity first appeared in training."""

import numpy as np

from geonet.nn import Sequential
from geonet.nn.module import undisturbed
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


def check_finite(parameters, step, gradients=False):
    """Raise `Diverged` at the first parameter, or gradient of one, that is not finite.

    Parameters
    ----------
    parameters : list of (str, Parameter)
        As from ``model.named_parameters()``.
    step : int
        Updates made before.
    gradients : bool
        Whether to look at the gradients, if there are any, instead of the values.
    """
    for name, parameter in parameters:
        array = parameter.grad if gradients else parameter.data
        if array is not None and not np.isfinite(array).all():
            layer, _, quantity = name.rpartition(".")
            what = f"gradient of {quantity}" if gradients else quantity
            raise Diverged(step, layer or "the model", what)


def locate_divergence(model, x, step):
    """Raise `Diverged` with the first module with a parameter or an output that is not finite."""
    check_finite(model.named_parameters(), step)
    stages = {"the model": model}
    if isinstance(model, Sequential):
        stages = {f"steps.{i}": stage for i, stage in enumerate(model.steps)}
    with undisturbed(model), no_grad(), np.errstate(all="ignore"):
        for name, stage in stages.items():
            x = stage(x)
            if not np.isfinite(x.data).all():
                raise Diverged(step, name, "output")
    raise Diverged(step, "the model", "loss")
