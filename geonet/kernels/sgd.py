"""The momentum update of one parameter in one pass, for `geonet.train.SGD`."""

from geonet.kernels.jit import lazy_jit


def sgd_numpy(parameter, gradient, velocity, lr, momentum, weight_decay, nesterov):
    """Update parameter and velocity u in place; all are flat and of one length.

    With g = ∂L/∂p + weight_decay · p:  u ← momentum · u + g,  p ← p − lr · u, or
    p ← p − lr · (g + momentum · u) under Nesterov.
    """
    g = gradient + weight_decay * parameter
    velocity *= momentum
    velocity += g
    parameter -= lr * (g + momentum * velocity if nesterov else velocity)


@lazy_jit
def sgd(parameter, gradient, velocity, lr, momentum, weight_decay, nesterov):
    """`sgd_numpy` as one loop without intermediate arrays."""
    for i in range(parameter.size):
        g = gradient[i] + weight_decay * parameter[i]
        u = momentum * velocity[i] + g
        velocity[i] = u
        parameter[i] -= lr * (g + momentum * u if nesterov else u)
