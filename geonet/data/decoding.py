"""Decode a photograph, and cut a square of a given side from it for a network.

There are two recipes of what is cut out, and of how its pixels become the input of a network; see
`Recipe`. This file has the cutting, and `geonet.data.image_folders` the colours.
"""

import contextlib
import math
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from geonet.data.reading import reading
from geonet.text import BadInput

FORMATS = ("JPEG", "PNG")
MOST_PIXELS = 1 << 26  # of a file; a larger one is taken for a decompression bomb
# How many times finer than the result a JPEG is decoded, and a picture averaged over whole pixels,
# before it is resampled. With this factor the shortcuts hardly show.
GAP = 2.0
SCALES, RATIOS = (0.08, 1.0), (3 / 4, 4 / 3)  # of the area and the sides of a random box
WHOLE = 224  # the size to which the lengths of a recipe belong; for others, they are in proportion


class Recipe(NamedTuple):
    """How a picture becomes the input of a network. Lengths are for a size of 224 pixels."""

    training: tuple | None  # range of the shorter side, for `square_box`; None for `random_box`
    validation: int  # the shorter side, of which the middle square is taken
    std: tuple  # by which each channel is divided, after pixel/255 − mean
    colour_noise: float  # standard deviation of α in training, see `geonet.data.image_folders`

    def box(self, width, height, size, rng=None):
        """The part of a picture that is shown: a random one or, without a generator, the middle."""
        if rng is None:
            return square_box(width, height, size, round(size * self.validation / WHOLE))
        if self.training is None:
            return random_box(width, height, rng)
        low, high = (round(size * side / WHOLE) for side in self.training)
        return square_box(width, height, size, int(rng.integers(low, high + 1)), rng)


RECIPES = {
    # Szegedy et al. (arXiv 1409.4842), section 6, with standardized channels
    "inception": Recipe(None, 256, (0.229, 0.224, 0.225), 0.0),
    # He et al. (arXiv 1512.03385), section 3.4; for validation, the mean of the two sides, as in
    # Simonyan & Zisserman (arXiv 1409.1556), section 3.2
    "resnet": Recipe((256, 480), 368, (1.0, 1.0, 1.0), 0.1),
}


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


def decode(path, size, rng=None, recipe="inception"):
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
        Draws a part of the picture and whether it is mirrored. Without it the result is the
        middle of the picture.
    recipe : {"inception", "resnet"}
        Which part that is, by the `Recipe` of that name in `RECIPES`.

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
        return _square(image, size, rng, RECIPES[recipe])


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


def square_box(width, height, size, shorter, rng=None):
    """A square of a picture whose shorter side has been resized.

    The picture is resized to whole pixels, and size × size of them are taken: the middle ones or,
    with a generator, from a uniform place. The result says where these begin and end, in pixels of
    the picture before resizing.

    Parameters
    ----------
    width, height, size, shorter : int
        `shorter` is at least `size`.
    rng : numpy.random.Generator, optional

    Returns
    -------
    tuple of float
        Left, top, right, bottom.
    """
    w, h = (shorter * side // min(width, height) for side in (width, height))
    if rng is None:
        left, top = round((w - size) / 2), round((h - size) / 2)
    else:
        left, top = (int(rng.integers(side - size + 1)) for side in (w, h))
    edges = (left, width / w), (top, height / h), (left + size, width / w), (top + size, height / h)
    return tuple(edge * pixel for edge, pixel in edges)


def _square(image, size, rng, recipe):
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise ValueError(f"{width} × {height} pixels are more than the limit of {MOST_PIXELS}")
    box = recipe.box(width, height, size, rng)
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
