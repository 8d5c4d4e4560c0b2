"""Folders of picture files to read."""

import numpy as np
from PIL import Image


def smooth(width, height, seed=0):
    """A picture without symmetries, smooth enough for JPEG to keep it almost as it is."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def plain(shade):
    """A picture that no crop, mirror or resize changes."""
    return Image.new("RGB", (10, 12), (shade, shade, shade))


def write_tree(folder, training, validation, draw=plain):
    """Write train/CLASS/k.png and val/CLASS/k.png; the k-th of a part is draw(k).

    `training` and `validation` are dicts from class to number of pictures.
    """
    for part, counts in (("train", training), ("val", validation)):
        k = 0
        for name, count in counts.items():
            (folder / part / name).mkdir(parents=True)
            for _ in range(count):
                draw(k).save(folder / part / name / f"{k:03d}.png")
                k += 1
    return folder
