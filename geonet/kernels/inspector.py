"""What an inspector records of a layer at a step, each kernel in one pass over the rows.

Sums are float64. Arrays that do not fit together are refused: a layer may have changed its size.
"""

import numpy as np

from geonet.kernels import reference
from geonet.kernels.switch import equal_to, lazy_jit


@equal_to(reference.gradient_parts, arrays=2)
@lazy_jit(fastmath={"contract", "reassoc"})
def gradient_parts(weight, gradient, radial, angular, stretching, turning):
    """Write the radial and the angular part of gradients (O, n), and each times ‖w‖."""
    units, least = len(weight), min(radial.size, angular.size, stretching.size, turning.size)
    if gradient.shape != weight.shape or least < units:
        raise ValueError("weight, its gradient and the record of a layer must agree in size")
    for unit in range(units):
        w, g = weight[unit], gradient[unit]
        square = along = 0.0
        for k in range(w.size):
            square += np.float64(w[k]) * w[k]
            along += np.float64(g[k]) * w[k]
        scale, across = along / square, 0.0
        for k in range(w.size):
            part = g[k] - scale * w[k]
            across += part * part
        length, across = np.sqrt(square), np.sqrt(across)
        stretching[unit], turning[unit] = along / length, across
        radial[unit], angular[unit] = along, length * across


@equal_to(reference.movement, arrays=2)
@lazy_jit(fastmath={"contract", "reassoc"})
def movement(weight, bias, direction, offset, turn, displacement):
    """Write turn and displacement of boundaries; update direction and offset in place."""
    units, least = len(weight), min(bias.size, offset.size, turn.size, displacement.size)
    if direction.shape != weight.shape or least < units:
        raise ValueError("a layer must keep its size while it is inspected")
    for unit in range(units):
        w, u = weight[unit], direction[unit]
        square = chord = 0.0
        for k in range(w.size):
            square += np.float64(w[k]) * w[k]
        per_length = 1 / np.sqrt(square)
        for k in range(w.size):
            new, old = w[k] * per_length, u[k]
            chord += (new - old) * (new - old)
            u[k] = new
        new, old = bias[unit] * per_length, offset[unit]
        moved = (new - old) * (new - old) + old * new * chord
        half = np.sqrt(chord) / 2
        turn[unit] = 2 * np.arcsin(1.0 if half > 1 else half)
        displacement[unit] = 0.0 if moved < 0 else np.sqrt(moved)
        offset[unit] = new


@equal_to(reference.activity, arrays=2)
@lazy_jit
def activity(output, resting, share):
    """Write the share of rows (N, O) on which each unit is active."""
    units = output.shape[1]
    if min(resting.size, share.size) < units:
        raise ValueError("output, resting values and the record of a layer must agree in size")
    active = np.zeros(units, np.int32)
    for i in range(output.shape[0]):
        for unit in range(units):
            active[unit] += output[i, unit] != resting[unit]
    for unit in range(units):
        share[unit] = active[unit] / output.shape[0]
