"""Exercises of lesson 12: residual networks and pictures."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lessons.exercise import Exercise, Wrong
from lessons.inputs import array

# 12.a


def residual_pullback(g, x, weight1, weight2):
    """Pull a gradient back through a residual block of two linear maps.

    The block is y = ReLU(ReLU(x W₁ᵀ) W₂ᵀ + x), a row for each input. The slope of the ReLU at 0 is
    taken as 0.

    Parameters
    ----------
    g : ndarray, shape (N, n)
        ∂L/∂y.
    x : ndarray, shape (N, n)
    weight1 : ndarray, shape (h, n)
    weight2 : ndarray, shape (n, h)

    Returns
    -------
    to_x : ndarray, shape (N, n)
        ∂L/∂x.
    to_weight1 : ndarray, shape (h, n)
        ∂L/∂W₁.
    to_weight2 : ndarray, shape (n, h)
        ∂L/∂W₂.
    """
    hidden = np.maximum(x @ weight1.T, 0)
    to_sum = g * (hidden @ weight2.T + x > 0)
    to_hidden = (to_sum @ weight2) * (hidden > 0)
    return to_sum + to_hidden @ weight1, to_hidden.T @ x, to_sum.T @ hidden


def _block_inputs():
    @st.composite
    def draw_all(draw):
        count, width, hidden = (draw(st.integers(1, 3)) for _ in range(3))
        g, x = draw(array((count, width))), draw(array((count, width)))
        if draw(st.integers(0, 3)) == 3:
            x[0] = 0.0  # an input at the kinks of all ReLUs
        return g, x, draw(array((hidden, width))), draw(array((width, hidden)))

    return draw_all()


def _block_by_rows(g, x, weight1, weight2):
    to_x = np.zeros_like(x)
    to_weight1, to_weight2 = np.zeros_like(weight1), np.zeros_like(weight2)
    for i in range(len(x)):
        z1 = weight1 @ x[i]
        h = np.where(z1 > 0, z1, 0.0)
        to_z = np.where(weight2 @ h + x[i] > 0, g[i], 0.0)
        to_z1 = np.where(z1 > 0, weight2.T @ to_z, 0.0)
        to_x[i] = to_z + weight1.T @ to_z1
        to_weight1 += np.outer(to_z1, x[i])
        to_weight2 += np.outer(to_z, h)
    return to_x, to_weight1, to_weight2


def _block_by_masks(g, x, weight1, weight2):
    z1 = np.einsum("in,hn->ih", x, weight1)
    active = z1 > 0
    z = np.einsum("ih,nh->in", z1 * active, weight2) + x
    inner = np.einsum("in,in,nh,ih->ih", g, z > 0, weight2, active)
    to_weight2 = np.einsum("in,in,ih,ih->nh", g, z > 0, z1, active)
    to_x = np.where(z > 0, g, 0.0)
    return to_x + inner @ weight1, np.einsum("ih,in->hn", inner, x), to_weight2


def _slips(g, x, weight1, weight2, inner=np.greater, outer=np.greater, seen=None, lost=0):
    """The reference with slips: other masks, other values behind the sum, a part of ∂L/∂x lost."""
    z1 = x @ weight1.T
    hidden = np.maximum(z1, 0)
    z = hidden @ weight2.T + x if seen is None else seen(hidden @ weight2.T)
    to_sum = g * outer(z, 0)
    to_hidden = (to_sum @ weight2) * inner(z1, 0)
    parts = [0, to_sum + to_hidden @ weight1, to_hidden @ weight1, to_sum, g + to_hidden @ weight1]
    return parts[lost + 1], to_hidden.T @ x, to_sum.T @ hidden


def _always(z, zero):
    return np.ones(z.shape)


A = Exercise(
    key="12.a",
    title="The pullback of a residual block",
    points=2,
    difficulty=4,
    solve=residual_pullback,
    inputs=_block_inputs,
    hints=(
        "Write the block as four lines: z₁, h, z, y. Then go back through them, last line first.",
        "The gradient behind the outer ReLU, g where z > 0, is used three times: by the "
        "shortcut, by W₂, and by h. x has two uses, so its gradient is a sum.",
        "With d = g·1[z > 0] and e = (d W₂)·1[z₁ > 0]: ∂L/∂x = d + e W₁, ∂L/∂W₁ = eᵀ x, "
        "∂L/∂W₂ = dᵀ h.",
    ),
    wrong=(
        Wrong(
            "forgets the shortcut",
            lambda *a: _slips(*a, lost=1),
            "Your gradient of x has the part of the branch only. x goes a second way to y.",
        ),
        Wrong(
            "forgets the branch",
            lambda *a: _slips(*a, lost=2),
            "Your gradient of x has the part of the shortcut only. The branch reads x, too.",
        ),
        Wrong(
            "lets the shortcut round the outer ReLU",
            lambda *a: _slips(*a, lost=3),
            "The shortcut joins before the last ReLU, so where that is inactive nothing comes back "
            "this way either.",
        ),
        Wrong(
            "forgets the outer ReLU",
            lambda *a: _slips(*a, outer=_always),
            "Where z is negative, y is 0 whatever x is: there g must not get through.",
        ),
        Wrong(
            "forgets the inner ReLU",
            lambda *a: _slips(*a, inner=_always),
            "The ReLU within the branch has a pullback as well; your gradient passes where z₁ < 0.",
        ),
        Wrong(
            "leaves the shortcut out on the way forward",
            lambda *a: _slips(*a, seen=lambda z: z),
            "Whether the outer ReLU is active depends on the sum, and your sum lacks x.",
        ),
        Wrong(
            "takes the slope at 0 as 1",
            lambda *a: _slips(*a, inner=np.greater_equal, outer=np.greater_equal),
            "Your masks count 0 as active. By our convention a ReLU at 0 passes nothing back.",
        ),
    ),
    right=(_block_by_rows, _block_by_masks),
    kind="gradient",
)


# 12.b


def sum_boundary(direction, lambda_, radius, shortcut):
    """The boundaries of ReLUs behind a sum, at a place where the shortcut has a given value.

    Unit k is ReLU(r_k (u_k·h + λ_k) + s_k). For a fixed s_k it is active on one side of a
    hyperplane in the space of h. Give that hyperplane by a unit vector v and a signed offset κ,
    such that the unit is active where v·h + κ > 0.

    Parameters
    ----------
    direction : ndarray, shape (O, n)
        u, unit vectors.
    lambda_ : ndarray, shape (O,)
    radius : ndarray, shape (O,)
        r, not 0, of either sign.
    shortcut : ndarray, shape (O,)
        s.

    Returns
    -------
    v : ndarray, shape (O, n)
    offset : ndarray, shape (O,)
        κ.
    """
    sign = np.sign(radius)
    return sign[:, None] * direction, sign * (lambda_ + shortcut / radius)


def _boundary_inputs():
    angles = st.integers(-12, 12).map(lambda k: k / 4)
    radii = st.integers(1, 12).flatmap(lambda k: st.sampled_from([k / 4, -k / 4]))

    def arguments(count):
        theta = array((count, 2), angles)
        radius = array(count, radii)
        return st.tuples(theta.map(_direction), array(count), radius, array(count))

    return st.integers(1, 3).flatmap(arguments)


def _direction(theta):
    """u(θ) in three dimensions, as lesson 05 has it."""
    first, second = theta.T
    return np.stack(
        [np.cos(first), np.sin(first) * np.cos(second), np.sin(first) * np.sin(second)], axis=1
    )


def _boundary_by_length(direction, lambda_, radius, shortcut):
    weight = radius[:, None] * direction
    length = np.sqrt((weight**2).sum(axis=1))
    return weight / length[:, None], (radius * lambda_ + shortcut) / length


def _boundary_by_units(direction, lambda_, radius, shortcut):
    v, offset = np.array(direction), np.array(lambda_)
    for k, r in enumerate(radius):
        offset[k] += shortcut[k] / r
        if r < 0:
            v[k], offset[k] = -v[k], -offset[k]
    return v, offset


B = Exercise(
    key="12.b",
    title="The boundary of a sum",
    points=2,
    difficulty=3,
    solve=sum_boundary,
    inputs=_boundary_inputs,
    hints=(
        "Write the pre-activation as (a vector)·h + (a number). By what must you divide so that "
        "the vector has length 1?",
        "The vector is r u, of length |r|. Dividing an inequality by r turns it round where r is "
        "negative; dividing by |r| never does.",
        "v = (r/|r|) u and κ = (r λ + s)/|r|.",
    ),
    wrong=(
        Wrong(
            "adds the shortcut undivided",
            lambda u, l, r, s: (np.sign(r)[:, None] * u, np.sign(r) * (l + s)),
            "The offset is a distance in the space of h, while s is added after the scale r.",
        ),
        Wrong(
            "multiplies the shortcut by the radius",
            lambda u, l, r, s: (np.sign(r)[:, None] * u, np.sign(r) * (l + r * s)),
            "A large r should make the shortcut count for less in the offset; yours makes it more.",
        ),
        Wrong(
            "forgets that a negative radius swaps the sides",
            lambda u, l, r, s: (u, l + s / r),
            "The hyperplane is right. For r < 0 your side of it is the inactive one.",
        ),
        Wrong(
            "swaps the sides of the direction only",
            lambda u, l, r, s: (np.sign(r)[:, None] * u, l + s / r),
            "For r < 0 you have turned the vector round and left the offset: that is another "
            "hyperplane, on the other side of the origin.",
        ),
        Wrong(
            "leaves out the shortcut",
            lambda u, l, r, s: (np.sign(r)[:, None] * u, np.sign(r) * l),
            "This is the boundary for s = 0, whatever the shortcut brings.",
        ),
        Wrong(
            "does not divide by the length",
            lambda u, l, r, s: (r[:, None] * u, r * l + s),
            "The hyperplane and its side are right, but v must have length 1, and the offset is to "
            "be in the same units.",
        ),
        Wrong(
            "divides by r squared",
            lambda u, l, r, s: (np.sign(r)[:, None] * u, np.sign(r) * (l + s / r**2)),
            "You have divided the shortcut once too often, and lost the sign of r there.",
        ),
    ),
    right=(_boundary_by_length, _boundary_by_units),
)


# 12.c


def normalize_pictures(pixels, mean, std):
    """Turn the bytes of pictures into the numbers that a network sees.

    A byte from 0 to 255 stands for a number from 0 to 1, from which the mean of its channel is
    subtracted, and which is then divided by the channel's standard deviation.

    Parameters
    ----------
    pixels : ndarray, shape (N, H, W, 3), dtype uint8
    mean, std : ndarray, shape (3,)
        Of the numbers from 0 to 1.

    Returns
    -------
    ndarray, shape (N, H, W, 3), dtype float32
    """
    return ((pixels / 255 - mean) / std).astype(np.float32)


def _picture_inputs():
    shape = st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(1, 3), st.just(3))
    bytes_ = arrays(np.uint8, shape, elements=st.integers(0, 255), fill=st.nothing())
    means = arrays(np.float64, 3, elements=st.integers(2, 12).map(lambda k: k / 16))
    stds = arrays(np.float64, 3, elements=st.integers(2, 8).map(lambda k: k / 32))
    return st.tuples(bytes_, means, stds)


def _normalized_by_channels(pixels, mean, std):
    x = np.empty(pixels.shape, np.float32)
    for c in range(3):
        x[..., c] = (pixels[..., c].astype(np.float64) - 255 * mean[c]) / (255 * std[c])
    return x


def _normalized_by_table(pixels, mean, std):
    table = (np.arange(256.0)[:, None] / 255 - mean) / std  # (256, 3)
    channels = [table[pixels[..., c], c] for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def _single(x):
    return np.asarray(x, np.float32)


C = Exercise(
    key="12.c",
    title="From bytes to numbers",
    points=2,
    difficulty=1,
    solve=normalize_pictures,
    inputs=_picture_inputs,
    hints=(
        "Channels are last, so arrays of shape (3,) broadcast against the pictures as they are.",
        "Make numbers from 0 to 1 first; the mean and the standard deviation belong to those.",
        "Compute (pixels / 255 − mean) / std and turn the result into float32 with astype.",
    ),
    wrong=(
        Wrong(
            "forgets to divide by 255",
            lambda x, mean, std: _single((x - mean) / std),
            "Your numbers are hundreds of times too large: the mean is that of numbers up to 1.",
        ),
        Wrong(
            "divides by 256",
            lambda x, mean, std: _single((x / 256 - mean) / std),
            "The largest byte is 255, and it stands for 1.",
        ),
        Wrong(
            "divides bytes as integers",
            lambda x, mean, std: _single((x // 255 - mean) / std),
            "Almost all of your pixels are the same: // rounds down to whole numbers.",
        ),
        Wrong(
            "divides by the variance",
            lambda x, mean, std: _single((x / 255 - mean) / std**2),
            "Divide by the standard deviation itself, not by its square.",
        ),
        Wrong(
            "leaves out the standard deviation",
            lambda x, mean, std: _single(x / 255 - mean),
            "The mean is gone from your numbers, but their spread is not yet 1.",
        ),
        Wrong(
            "divides before it subtracts",
            lambda x, mean, std: _single(x / 255 / std - mean),
            "The mean is in units of the numbers from 0 to 1, so it has to go before you divide by "
            "the standard deviation.",
        ),
        Wrong(
            "takes the mean of the first channel for all",
            lambda x, mean, std: _single((x / 255 - mean[0]) / std[0]),
            "Each of the three channels has a mean and a standard deviation of its own.",
        ),
        Wrong(
            "returns float64",
            lambda x, mean, std: (x / 255 - mean) / std,
            "The numbers are right. Convnets compute in float32; float64 takes twice the memory.",
        ),
    ),
    right=(_normalized_by_channels, _normalized_by_table),
    tolerance=1e-5,
)

EXERCISES = [A, B, C]
