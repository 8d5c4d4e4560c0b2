"""Downsampled ImageNet, from its batch files (Chrabaszcz et al., arXiv 1707.08819)."""

import functools
import re
import textwrap

import numpy as np

from geonet.data.image_arrays import SCALE, ImageSet
from geonet.data.pickles import read_pickle
from geonet.data.reading import check_content, existing, reading

TRAINING, VALIDATION = "train_data_batch_", "val_data"
KEYS = "data", "labels"  # that are used; there may be others
SIDE = 32
CLASSES = 1000  # of ImageNet; a folder may have fewer


def read_imagenet32(folder, scale=SCALE):
    """The images of a folder with train_data_batch_1, train_data_batch_2, … and val_data.

    Each file is a pickle of a dict or, if its name ends with .npz, an archive of numpy.savez. Its
    `data`, uint8 (N, 3072), has one image per row: the red pixels first, then green, then blue. Its
    `labels` are N whole numbers from 1. All files are read once, one after the other. A single
    training file then stays in memory; several are read again in each epoch.

    Parameters
    ----------
    folder : str or Path
    scale : float
        As for `ImageSet`.

    Returns
    -------
    ImageSet
        Images (32, 32, 3); labels from 0.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no file for training or for validation.
    ValueError
        If the numbering of the files or the content of a file is wrong. The message names the
        file, what was found and what was expected.
    """
    folder = existing(folder, "folder", f"{TRAINING}1, …, {VALIDATION}")
    paths = _training_files(folder)
    validation_path = folder / f"{VALIDATION}.npz"
    if not validation_path.is_file():
        validation_path = folder / VALIDATION
    validation = _read_batch(validation_path)
    parts = [functools.partial(_read_batch, path) for path in paths]
    if len(parts) == 1:
        parts = [functools.cache(parts[0])]
    images = ImageSet(parts, validation, scale)
    largest = validation[1].max() + 1
    expected = f"labels of the {images.num_classes} classes of the training files"
    check_content(validation_path, largest <= images.num_classes, expected, largest)
    return images


def _training_files(folder):
    """The paths of the training files, in the order of their numbers, 1, 2, … without gaps."""
    matches = (re.fullmatch(rf"{TRAINING}([0-9]+)(\.npz)?", path.name) for path in folder.iterdir())
    found = sorted((int(match[1]), match[0]) for match in matches if match)
    if not found:
        raise FileNotFoundError(f"{folder}: no training files; expected {TRAINING}1 and so on")
    for expected, (number, name) in enumerate(found, start=1):
        rule = "instead; the numbers must go from 1 without gaps, each once"
        check_content(folder / name, number == expected, f"{TRAINING}{expected} {rule}")
    return [folder / name for _, name in found]


def _read_batch(path):
    """The images (N, 32, 32, 3), a view of channel-major rows, and the labels from 0."""
    content = _read_npz(path) if path.suffix == ".npz" else read_pickle(path)
    check_content(path, isinstance(content, dict), "a dict", f"a {type(content).__name__}")
    # Python 2 may have written the keys as bytes
    content = {k.decode("latin-1") if isinstance(k, bytes) else k: v for k, v in content.items()}
    for key in KEYS:
        check_content(path, key in content, "the keys 'data' and 'labels'", f"no {key!r}")
    images, labels = _images(path, content["data"]), _labels(path, content["labels"])
    expected = f"a label for each of the {len(images)} images"
    check_content(path, len(images) == len(labels), expected, len(labels))
    return images, labels


def _read_npz(path):
    with reading(path, _no_archive), path.open("rb") as file, np.load(file) as archive:
        return {key: archive[key] for key in KEYS if key in archive}


def _no_archive(path, error):
    why = textwrap.shorten(str(error), 100)
    return ValueError(f"{path}: expected an archive of plain arrays, but {why}")


def _images(path, data):
    columns = 3 * SIDE * SIDE
    expected = f"data of shape (N, {columns}), N > 0, and dtype uint8"
    check_content(path, isinstance(data, np.ndarray), expected, f"a {type(data).__name__}")
    data = np.asarray(data)  # without the class that the reader of pickles gives it
    right = data.dtype == np.uint8 and data.shape[1:] == (columns,) and data.size
    check_content(path, right, expected, f"{data.shape} of {data.dtype}")
    return data.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)


def _labels(path, labels):
    expected = f"labels that are whole numbers from 1 to {CLASSES}"
    labels = labels.tolist() if isinstance(labels, np.ndarray) else labels
    check_content(path, isinstance(labels, list | tuple), expected, f"a {type(labels).__name__}")
    for row, label in enumerate(labels):
        if type(label) is not int or not 1 <= label <= CLASSES:
            plain = type(label) is int and abs(label) < 10**12
            found = label if plain else type(label).__name__
            raise ValueError(f"{path}: expected {expected}, found {found} in row {row}")
    return np.array(labels, dtype=np.int64) - 1
