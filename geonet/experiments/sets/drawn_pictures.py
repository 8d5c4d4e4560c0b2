"""Drawn pictures of ten shapes and textures, for use when no photographs are available.

A picture has 32 × 32 pixels or more. It shows a figure on a background, with bars and noise on top.
Its class is the figure's outline, or the figure's texture inside any of three outlines. Position,
size, angle, proportions, colours, shading, contrast, background, bars and noise have the same
distribution for all classes. So neither colours nor brightness reveal the class, and some pictures
are easy while others are nearly impossible.

The pictures are available as arrays, or as a folder of JPEG files in the layout of ImageNet.
"""

import math
import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from geonet.data.image_arrays import SCALE, ImageSet

SIDE = 32
TRAINING, VALIDATION = 8000, 2000
CHUNK = 500 * SIDE**2  # pixels at a time, so that they stay in the cache

# Outlines: f(ρ, φ) of polar coordinates about the figure's centre, in units of its size; negative
# inside. Their areas are nearly equal.


def _disk(rho, phi):
    return rho - 0.9


def _ring(rho, phi):
    return abs(rho - 0.9) - 0.22


def _polygon(corners, size):
    half = math.pi / corners
    return lambda rho, phi: rho * np.cos(phi % (2 * half) - half) - size * math.cos(half)


def _cross(rho, phi):
    x, y = abs(rho * np.cos(phi)), abs(rho * np.sin(phi))
    return np.maximum(np.maximum(x, y) - 1.1, np.minimum(x, y) - 0.38)


def _star(rho, phi):
    tip, hollow, half = 1.35, 0.65, math.pi / 5
    angle = abs(phi % (2 * half) - half)  # from the nearest tip
    x, y = hollow * math.cos(half) - tip, hollow * math.sin(half)  # from a tip to a hollow
    return (rho * (y * np.cos(angle) - x * np.sin(angle)) - y * tip) / math.hypot(x, y)


# Textures: f(x, y, k) with k radians per unit, which is the figure's size; positive where the ink
# is light.


def _stripes(x, y, k):
    return np.sin(k * x)


def _checkerboard(x, y, k):
    return np.sin(k * x) * np.sin(k * y)


def _dots(x, y, k):
    return np.cos(k * x) + np.cos(k * y) - 0.6


def _spiral(x, y, k):
    return np.sin(k * np.hypot(x, y) - np.arctan2(y, x))


OUTLINES = {
    "disk": _disk,
    "square": _polygon(4, 1.15),
    "triangle": _polygon(3, 1.4),
    "cross": _cross,
    "ring": _ring,
    "star": _star,
}
TEXTURES = {
    "stripes": _stripes,
    "checkerboard": _checkerboard,
    "dots": _dots,
    "spiral": _spiral,
}
CLASSES = (*OUTLINES, *TEXTURES)
WNIDS = [f"n{90000000 + k}" for k in range(len(CLASSES))]  # those of ImageNet are smaller


def load_pictures(rng, scale=SCALE):
    """8,000 pictures for training and 2,000 for validation, from `draw_pictures`.

    Parameters
    ----------
    rng : numpy.random.Generator
    scale : float
        As for `ImageSet`.

    Returns
    -------
    ImageSet
        Images (32, 32, 3) from ten classes.
    """
    training = draw_pictures(TRAINING, rng)
    return ImageSet([lambda: training], draw_pictures(VALIDATION, rng), scale)


def draw_pictures(count, rng):
    """Draw pictures of CLASSES, which are equally likely.

    Parameters
    ----------
    count : int
        Number of pictures N.
    rng : numpy.random.Generator

    Returns
    -------
    images : ndarray, shape (N, 32, 32, 3), dtype uint8
    labels : ndarray, shape (N,), dtype int64
        Places in CLASSES.
    """
    labels = rng.integers(0, len(CLASSES), size=count)
    return paint(labels, rng), labels


def write_pictures(folder, rng, *, training=2000, validation=500, side=72):
    """Draw pictures and write them to train/WNID/WNID_k.JPEG and val/WNID/WNID_k.JPEG.

    There are equally many pictures of each of CLASSES, or one more of some. The folder exists only
    once it is whole.

    Parameters
    ----------
    folder : str or Path
        Must not exist, or must be empty.
    rng : numpy.random.Generator
    training, validation : int
        Numbers of pictures.
    side : int
        Side of the pictures in pixels.

    Raises
    ------
    FileExistsError
        If the folder is not empty.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder}: is not empty; expected a new or an empty folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
        whole = Path(temporary, folder.name)
        for part, count in (("train", training), ("val", validation)):
            labels = np.arange(count) % len(CLASSES)
            for name in WNIDS[:count]:
                Path(whole, part, name).mkdir(parents=True)
            for k, pixels in enumerate(paint(labels, rng, side)):
                name = WNIDS[labels[k]]
                Image.fromarray(pixels).save(whole / part / name / f"{name}_{k}.JPEG", quality=90)
        os.replace(whole, folder)


def paint(labels, rng, side=SIDE):
    """Draw one picture per label.

    Parameters
    ----------
    labels : ndarray, shape (N,)
        Places in CLASSES.
    rng : numpy.random.Generator
    side : int
        Side of the pictures in pixels. Everything but the noise scales with it.

    Returns
    -------
    ndarray, shape (N, side, side, 3), dtype uint8
    """
    images = np.empty((len(labels), side, side, 3), np.uint8)
    step = max(1, CHUNK // side**2)
    for first in range(0, len(labels), step):
        rows = slice(first, first + step)
        images[rows] = 255 * _Painter(labels[rows], rng, side).paint()
    return images


class _Painter:
    """Paints one picture per label, all at once: arrays (N, S, S, 3) of colours from 0 to 1."""

    def __init__(self, labels, rng, side):
        self.labels, self.rng, self.side = labels, rng, side

    def uniform(self, low, high, *shape):
        """Numbers from `low` to `high`, (N, *shape); a shape of 1s gives one number per picture."""
        return self.rng.uniform(low, high, (len(self.labels), *shape)).astype(np.float32)

    def normal(self, *shape):
        """Standard normal numbers, (N, *shape)."""
        return self.rng.standard_normal((len(self.labels), *shape), dtype=np.float32)

    def paint(self):
        """Paint the pictures."""
        paper = self.uniform(0.0, 0.5, 1, 1, 3)
        ink = self.lighter(paper)
        shade = ink * self.uniform(0.2, 0.8, 1, 1, 3)
        canvas = self.background(paper)
        opaque, light = self.figure()
        canvas += opaque * (shade + light * (ink - shade) - canvas)
        for _ in range(5):
            opaque = self.bar() & (self.uniform(0, 1, 1, 1, 1) < 0.5)
            canvas += opaque * (self.uniform(0, 1, 1, 1, 3) - canvas)
        canvas += self.uniform(0.02, 0.1, 1, 1, 1) * self.normal(self.side, self.side, 3)
        return np.clip(canvas, 0, 1)

    def lighter(self, paper):
        """A colour lighter than that of the paper, by a little or by a lot."""
        direction = abs(self.normal(1, 1, 3))
        direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
        return paper + self.uniform(0.15, 0.95, 1, 1, 1) * direction

    def frame(self, size, spread, tilt):
        """Coordinates x, y (N, S, S, 1) of the pixels in a random frame of each picture.

        A picture measures 32 in each direction. The unit of the frame is drawn from size[0] to
        size[1]. Its centre is off the picture's centre by up to `spread` in each direction, and it
        is rotated by up to `tilt`.
        """
        angle, stretch = self.uniform(-tilt, tilt, 1, 1, 1), self.uniform(0.8, 1.25, 1, 1, 1)
        unit = self.uniform(*size, 1, 1, 1)
        pixels = np.arange(self.side, dtype=np.float32)[:, None] - (self.side - 1) / 2
        pixels *= SIDE / self.side
        right = pixels - self.uniform(-spread, spread, 1, 1, 1)  # (N, 1, S, 1)
        down = pixels[:, None] - self.uniform(-spread, spread, 1, 1, 1)  # (N, S, 1, 1)
        cosine, sine = np.cos(angle) / unit, np.sin(angle) / unit
        return stretch * (cosine * right + sine * down), (cosine * down - sine * right) / stretch

    def background(self, paper):
        """The paper, with soft patches of other colours and a faint grating."""
        coarse = self.normal(5, 5, 3)
        places = np.linspace(0, 4, self.side, dtype=np.float32)
        weights = np.maximum(0, 1 - abs(places[:, None] - np.arange(5, dtype=np.float32)))  # (S, 5)
        patches = np.einsum("ip,npqc,jq->nijc", weights, coarse, weights, optimize=True)
        x, _ = self.frame((0.5, 1.5), 0, math.pi)
        grating = np.sin(x + self.uniform(0, 2 * math.pi, 1, 1, 1))
        strengths = self.uniform(0, 0.15, 1, 1, 1), self.uniform(0, 0.08, 1, 1, 3)
        return paper + strengths[0] * patches + strengths[1] * grating

    def figure(self):
        """How much of each pixel the figure covers, and how light its ink is: (N, S, S, 1) each."""
        x, y = self.frame((7, 12), 4, 0.4)
        rho, phi = np.hypot(x, y), np.arctan2(y, x)
        plain = self.labels < len(OUTLINES)
        outlines = np.where(plain, self.labels, self.rng.integers(0, 3, len(plain)))
        distance, light = np.empty_like(x), 0.5 + 0.5 * x  # shaded from side to side
        for k, outline in enumerate(OUTLINES.values()):
            rows = outlines == k
            distance[rows] = outline(rho[rows], phi[rows])
        waves = self.uniform(5, 8, 1, 1, 1)
        for k, texture in enumerate(TEXTURES.values(), start=len(OUTLINES)):
            rows = self.labels == k
            light[rows] = 0.5 + 2 * texture(x[rows], y[rows], waves[rows])
        return np.clip(0.5 - 10 * distance, 0, 1), np.clip(light, 0, 1)

    def bar(self):
        """The pixels that a bar covers, bool (N, S, S, 1)."""
        x, y = self.frame((1, 1), 14, math.pi)
        return (abs(x) < self.uniform(0.6, 2, 1, 1, 1)) & (abs(y) < self.uniform(2, 7, 1, 1, 1))
