"""The drawn pictures as a folder of JPEG files, in the layout of ImageNet."""

import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from geonet.experiments.sets.pictures import CLASSES, paint

WNIDS = [f"n{90000000 + k}" for k in range(len(CLASSES))]  # ImageNet's own are below n20000000


def write_pictures(folder, rng, *, training=2000, validation=500, side=72):
    """Draw pictures and write them to train/WNID/WNID_k.JPEG and val/WNID/WNID_k.JPEG.

    The classes are those of `geonet.experiments.sets.pictures`, as many pictures of each (or one
    more). The folder is there when it is whole, and not before.

    Parameters
    ----------
    folder : str or Path
        Must not exist, or be empty.
    rng : numpy.random.Generator
    training, validation : int
        Numbers of pictures.
    side : int
        Of the pictures, in pixels.

    Raises
    ------
    FileExistsError
        If there is something in the folder.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder}: is not empty; expected a folder to make")
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
