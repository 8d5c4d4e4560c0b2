"""The update of one parameter in one pass, without intermediate arrays, for `geonet.train`.

Compiled code does not check that arrays have the same length: `geonet.train.Optimizer` does.
"""

import numpy as np

from geonet.kernels import reference
from geonet.kernels.switch import equal_to, lazy_jit


@equal_to(reference.sgd)
@lazy_jit
def sgd(parameter, gradient, velocity, lr, momentum, weight_decay):
    """Change parameter and velocity in place; all arrays are flat and of the same length."""
    if not parameter.size == gradient.size == velocity.size:
        raise ValueError("sgd: parameter, gradient and velocity must have the same length")
    for i in range(parameter.size):
        g = gradient[i] + weight_decay * parameter[i]
        velocity[i] = u = momentum * velocity[i] + g  # u is not rounded to the velocity's type
        parameter[i] -= lr * u


@equal_to(reference.adam)
@lazy_jit
def adam(parameter, gradient, m, v, step_size, beta1, beta2, scale, eps):
    """Change parameter, m and v in place; all arrays are flat and of the same length."""
    if not parameter.size == gradient.size == m.size == v.size:
        raise ValueError("adam: parameter, gradient, m and v must have the same length")
    for i in range(parameter.size):
        g = gradient[i]
        m[i] = beta1 * m[i] + (1 - beta1) * g
        v[i] = beta2 * v[i] + (1 - beta2) * g * g
        parameter[i] -= step_size * m[i] / (np.sqrt(v[i]) * scale + eps)
