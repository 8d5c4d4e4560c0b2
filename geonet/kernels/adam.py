"""The Adam update of one parameter in one pass, for `geonet.train.Adam`."""

import numpy as np

from geonet.kernels.jit import lazy_jit


def adam_numpy(parameter, gradient, m, v, step_size, beta1, beta2, scale, eps):
    """Update parameter, m and v in place; all are flat and of one length.

    m ← β₁ m + (1 − β₁) g,  v ← β₂ v + (1 − β₂) g²,  p ← p − step_size · m / (√v · scale + eps),
    where step_size = lr / (1 − β₁ᵗ) and scale = 1 / √(1 − β₂ᵗ) correct the bias of m and v at
    step t (Kingma & Ba 2015, algorithm 1).
    """
    m *= beta1
    m += (1 - beta1) * gradient
    v *= beta2
    v += (1 - beta2) * gradient * gradient
    parameter -= step_size * m / (np.sqrt(v) * scale + eps)


@lazy_jit
def adam(parameter, gradient, m, v, step_size, beta1, beta2, scale, eps):
    """`adam_numpy` as one loop without intermediate arrays."""
    for i in range(parameter.size):
        g = gradient[i]
        m[i] = beta1 * m[i] + (1 - beta1) * g
        v[i] = beta2 * v[i] + (1 - beta2) * g * g
        parameter[i] -= step_size * m[i] / (np.sqrt(v[i]) * scale + eps)
