"""What an inspector takes down of a layer at a step, in one pass over its rows each.

A record (FIELDS, O) has for every unit: the radial and the angular part of the gradient, what of it
stretches and what turns the row, the turn and the displacement of the boundary, and the share of
the batch on which the unit is active. Sums are float64 whatever the rows are.
"""

import numpy as np

from geonet.kernels.jit import lazy_jit

FIELDS = 7
RADIAL, ANGULAR, STRETCHING, TURNING, TURN, DISPLACEMENT, ACTIVITY = range(FIELDS)


def parts_numpy(weight, gradient, record):
    """Write g·u and ‖g − (g·u) u‖, for g = ∂L/∂w and u = w/‖w‖, and both times ‖w‖.

    weight and gradient are (O, n).
    """
    weight, gradient = (a.astype(np.float64) for a in (weight, gradient))
    length = np.linalg.norm(weight, axis=1)
    along = (gradient * weight).sum(axis=1) / length
    across = np.linalg.norm(gradient - (along / length)[:, None] * weight, axis=1)
    record[STRETCHING], record[TURNING] = along, across
    record[RADIAL], record[ANGULAR] = length * along, length * across


@lazy_jit(fastmath={"contract", "reassoc"})
def parts(weight, gradient, record):
    """`parts_numpy` without intermediate arrays."""
    for unit in range(weight.shape[0]):
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
        record[STRETCHING, unit], record[TURNING, unit] = along / length, across
        record[RADIAL, unit], record[ANGULAR, unit] = along, length * across


def movement_numpy(weight, bias, direction, offset, record):
    """Write how far boundaries came, and put where they are now in place of where they were.

    weight (O, n), bias (O,) are those of now; direction u (O, n) and offset λ (O,), both float64,
    those of before. Of a chord d = ‖u' − u‖ the angle is 2 arcsin(d/2), accurate near 0 and to 1e-8
    near π; the location φ = −λu moved by √((λ' − λ)² + λλ' d²).
    """
    length = np.linalg.norm(weight.astype(np.float64), axis=1)
    new, new_offset = weight / length[:, None], bias / length
    chord = np.square(new - direction).sum(axis=1)
    record[TURN] = 2 * np.arcsin(np.minimum(np.sqrt(chord) / 2, 1))
    square = (new_offset - offset) ** 2 + offset * new_offset * chord
    record[DISPLACEMENT] = np.sqrt(np.maximum(square, 0))  # rounding may leave it below 0
    direction[...], offset[...] = new, new_offset


@lazy_jit(fastmath={"contract", "reassoc"})
def movement(weight, bias, direction, offset, record):
    """`movement_numpy` without intermediate arrays."""
    for unit in range(weight.shape[0]):
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
        record[TURN, unit] = 2 * np.arcsin(1.0 if half > 1 else half)
        record[DISPLACEMENT, unit] = 0.0 if moved < 0 else np.sqrt(moved)
        offset[unit] = new


def activity_numpy(output, resting, record):
    """Write the share of rows (N, O) of an output that differ from that of inactive units (O,)."""
    record[ACTIVITY] = (output != resting).mean(axis=0)


@lazy_jit
def activity(output, resting, record):
    """`activity_numpy` without intermediate arrays."""
    units = output.shape[1]
    active = np.zeros(units, np.int32)
    for i in range(output.shape[0]):
        for unit in range(units):
            active[unit] += output[i, unit] != resting[unit]
    for unit in range(units):
        record[ACTIVITY, unit] = active[unit] / output.shape[0]
