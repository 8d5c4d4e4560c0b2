"""Decode a photograph, and cut a square of a given side from it for a network."""

import contextlib
import math
import warnings

import numpy as np
from PIL import Image, ImageOps

from geonet.data.reading import reading
from geonet.text import BadInput

FORMATS = ("JPEG", "PNG")
MOST_PIXELS = 1 << 26  # of a file; a larger one is taken for a decompression bomb
# How many times finer than the result a JPEG is decoded, and a picture averaged over whole pixels,
# before it is resampled. With this factor the shortcuts hardly show.
GAP = 2.0
SCALES, RATIOS = (0.08, 1.0), (3 / 4, 4 / 3)  # of the area and the sides of a random crop


class DamagedPicture(BadInput):
    """A file that cannot be decoded.

    Attributes
    ----------
    path, reason : str
    """

    def __init__(self, path, reason):
        super().__init__(path, reason)  # both, so that it can be pickled
        self.path, self.reason = path, reason

    def __str__(self):
        return f"{self.path}: {self.reason}"


def decode(path, size, rng=None):
    """A square of a picture, upright, in three colours.

    Greyscale, CMYK, palettes and 16 bits become RGB; transparent parts become white. CMYK is
    assumed to be stored inverted, as Adobe's programs store it and browsers expect it.

    Parameters
    ----------
    path : str or Path
        Of a JPEG or PNG file.
    size : int
        Side of the result.
    rng : numpy.random.Generator, optional
        Draws a part of the picture (see `random_box`) and whether it is mirrored. Without it the
        result is the middle of the picture (see `middle_box`).

    Returns
    -------
    ndarray, shape (size, size, 3), dtype uint8

    Raises
    ------
    DamagedPicture
        If the file cannot be decoded, or has more than 2²⁶ pixels.
    OSError, MemoryError
        If the file cannot be read, as `reading` raises them.
    """
    with (
        reading(path, _damaged),
        warnings.catch_warnings(action="ignore"),  # about odd metadata
        Image.open(path, formats=FORMATS) as image,
    ):
        return _square(image, size, rng)


def _damaged(path, error):
    """Broken files make Pillow raise errors of many types."""
    unknown = isinstance(error, Image.UnidentifiedImageError)
    reason = "neither a JPEG nor a PNG file" if unknown else str(error)
    return DamagedPicture(str(path), reason or type(error).__name__)


def random_box(width, height, rng):
    """A random part of a picture, as in Szegedy et al. (arXiv 1409.4842), section 6.

    Its area is U(0.08, 1) times the picture's, the logarithm of its width over its height is
    U(ln ¾, ln 4⁄3), and its place is uniform. Of ten such boxes the first that fits is taken. If
    none fits, it is the largest box in the middle whose ratio is in this range.

    Parameters
    ----------
    width, height : int
    rng : numpy.random.Generator

    Returns
    -------
    tuple of int
        Left, top, right, bottom.
    """
    for _ in range(10):
        area = width * height * rng.uniform(*SCALES)
        ratio = math.exp(rng.uniform(*map(math.log, RATIOS)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left = int(rng.integers(width - w + 1))
            top = int(rng.integers(height - h + 1))
            return left, top, left + w, top + h
    w, h = min(width, round(height * RATIOS[1])), min(height, round(width / RATIOS[0]))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def middle_box(width, height, size):
    """The middle crop of a picture whose shorter side is resized to 256⁄224 · size.

    The picture is resized to whole pixels, and the middle ones are taken. The result says where
    these begin and end, in pixels of the picture before resizing.

    Parameters
    ----------
    width, height, size : int

    Returns
    -------
    tuple of float
        Left, top, right, bottom.
    """
    shorter = round(size * 256 / 224)
    w, h = (shorter * side // min(width, height) for side in (width, height))
    left, top = round((w - size) / 2), round((h - size) / 2)
    edges = (left, width / w), (top, height / h), (left + size, width / w), (top + size, height / h)
    return tuple(edge * pixel for edge, pixel in edges)


def _square(image, size, rng):
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise ValueError(f"{width} × {height} pixels are more than the limit of {MOST_PIXELS}")
    box = middle_box(width, height, size) if rng is None else random_box(width, height, rng)
    scale = _draft(image, min(box[2] - box[0], box[3] - box[1]) / (GAP * size))
    box = tuple(edge / scale for edge in box)
    square = _rgb(image).resize((size, size), Image.Resampling.BILINEAR, box, reducing_gap=GAP)
    square.info = image.info  # it says how the picture is turned
    with contextlib.suppress(Exception):  # a broken tag is no reason to lose the picture
        ImageOps.exif_transpose(square, in_place=True)
    pixels = np.asarray(square)
    return pixels[:, ::-1] if rng is not None and rng.random() < 0.5 else pixels


def _draft(image, shrink):
    """Make a JPEG be decoded coarser by at most `shrink`, which is faster; returns the factor."""
    coarser = tuple(math.ceil(side / shrink) for side in image.size)
    drafted = shrink >= 2 and image.draft(None, coarser)
    return image.decoderconfig[0] if drafted else 1


def _rgb(image):
    if image.mode.startswith("I"):  # 16 bits
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")
