"""ImageNet or other photographs from folders train/CLASS/*.JPEG and val/CLASS/*.JPEG."""

import hashlib
import json
import os
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from geonet.data.decoding import RECIPES, DamagedPicture
from geonet.data.image_arrays import check_batch_size
from geonet.data.reading import existing
from geonet.data.workers import Decoders
from geonet.text import check_choice, check_counts

ENDINGS = (".jpeg", ".jpg", ".png")
MEAN = (0.485, 0.456, 0.406)  # of ImageNet's channels, from 0 to 1
# Principal components of the colours of ImageNet's pixels, from 0 to 1; an eigenvector is a column.
# The numbers are those of fb.resnet.torch (datasets/imagenet.lua): Krizhevsky et al. print none.
EIGENVALUES = (0.2175, 0.0188, 0.0045)
EIGENVECTORS = (-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203)


class _Pictures(NamedTuple):
    """Files of a folder, class after class; only their names, as there may be over a million."""

    folder: Path
    classes: list
    names: list
    labels: np.ndarray

    def path(self, i):
        return os.path.join(self.folder, self.classes[self.labels[i]], self.names[i])


class ImageFolders(AbstractContextManager):
    """Photographs in one folder per class, decoded when needed, as minibatches for a convnet.

    A network sees x = (pixel/255 − mean)/std with ImageNet's mean of each channel. Training takes
    random parts of pictures, mirrored or not; validation takes the middle. Two recipes differ in
    what these parts are, and in std, see `geonet.data.decoding`:

    - "inception": parts of many areas and shapes, divided by ImageNet's standard deviation;
    - "resnet": squares of pictures whose shorter side is resized, not divided. In training the
      colours of a picture are shifted, those of all pixels alike, by Σ αₖ λₖ pₖ, where pₖ and λₖ
      are the eigenvectors and eigenvalues of the colours' covariance, and αₖ ~ N(0, 0.1²)
      (Krizhevsky et al. 2012, section 4.1).

    A picture that cannot be decoded is left out, so its batch is smaller. The other pictures do not
    depend on it, and nothing depends on the number of workers. A file that has vanished or cannot
    be read is no such picture: then the iterator raises an OSError.

    Parameters
    ----------
    path : str or Path
        A folder with files train/CLASS/… and val/CLASS/…: *.jpeg, *.jpg and *.png, in upper or
        lower case. Other files, and names that begin with a dot, are ignored.
    size : int
        Side of the squares.
    recipe : {"inception", "resnet"}
    workers : int
        Number of processes that decode ahead. With 0, this process decodes each batch when it is
        needed. Workers start when they are needed, share memory for three batches with this
        process, and end with `close` or with this process. They do not import the main program.
    strict : bool
        Whether a damaged picture, or a class without validation pictures, is an error.
    rank, ranks : int
        Several processes may share the pictures: the number of this one, and how many there are.

    Attributes
    ----------
    path : Path
    size : int
    classes : list of str
        The folders of train, sorted; labels are indices into it.
    num_classes : int
    total_count : int
        Training pictures.
    train_count : int
        Training pictures per rank: total_count // ranks.
    validation_count : int
        Validation pictures of this rank, whether damaged or not.
    damaged : dict
        Path -> reason, for the pictures left out so far.
    warnings : list of str

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no train or val in it.
    ValueError
        If there are no classes, a class is empty or only in val, a number is out of range, or the
        recipe is unknown; with `strict`, also if a class is only in train.
    """

    def __init__(self, path, size, *, recipe="inception", workers=0, strict=False, rank=0, ranks=1):
        check_choice("recipe", recipe, RECIPES)
        check_counts(1, size=size, ranks=ranks)
        check_counts(0, workers=workers, rank=rank)
        if rank >= ranks:
            raise ValueError(f"rank must be from 0 to {ranks - 1}, but is {rank}")
        self.path = existing(path, "folder", "one with train and val")
        self.size, self.strict, self.rank, self.ranks = size, strict, rank, ranks
        train, val = self.path / "train", self.path / "val"
        training, validation = _files(train), _files(val)
        for name in validation:
            if name not in training:
                raise ValueError(f"{val / name}: this class is missing in {train}")
        self.classes, self.num_classes = list(training), len(training)
        lacking = [name for name in training if name not in validation]
        self.warnings = [f"{val}: the class {name} of train is missing" for name in lacking]
        if strict and lacking:
            raise ValueError(self.warnings[0])
        self._training = _pictures(train, self.classes, training)
        self._validation = _pictures(val, self.classes, validation)
        self.total_count = len(self._training.names)
        self.train_count = self.total_count // ranks
        self.validation_count = len(range(rank, len(self._validation.names), ranks))
        self.damaged = {}
        self._recipe = RECIPES[recipe]
        self._decoders = Decoders(workers, size, recipe)

    @property
    def digest(self):
        """16 digits that identify the names of all classes and pictures, in any folder."""
        parts = self._training, self._validation
        names = [(self.classes, part.names, part.labels.tolist()) for part in parts]
        return hashlib.sha256(json.dumps(names).encode()).hexdigest()[:16]

    def __exit__(self, *_):
        self.close()

    def close(self):
        """End the workers."""
        self._decoders.close()

    def train_batches(self, batch_size, rng, skip=0):
        """One epoch of training: every picture at most once, in a new order.

        The generators of all ranks must be in the same state. The ranks draw the same order, and
        each takes its share of every ranks · B pictures. A remainder that is smaller is left out.

        Parameters
        ----------
        batch_size : int
            B, of one rank; at most `train_count`.
        rng : numpy.random.Generator
            Determines everything, and is used only in this call: picture i has its own generator,
            seeded by i and a number drawn from `rng`.
        skip : int
            Number of first batches that are neither returned nor decoded. The others do not change.

        Returns
        -------
        iterator
            train_count // batch_size − skip pairs x (B, size, size, 3) float32, labels (B,) int64.

        Raises
        ------
        ValueError
            If the batch size is not from 1 to `train_count`, or skip is not from 0 to the number of
            batches.
        DamagedPicture
            Under `strict`, or if all pictures of a batch are damaged; raised by the iterator.
        """
        check_batch_size(batch_size, self.train_count)
        count = self.train_count // batch_size
        if not 0 <= skip <= count:
            raise ValueError(f"skip must be from 0 to the {count} batches, not {skip}")
        seed = int(rng.integers(2**63))
        order = rng.permutation(self.total_count)[: count * self.ranks * batch_size]
        rows = order.reshape(count, self.ranks, batch_size)[skip:, self.rank]
        return self._batches(self._training, rows, seed)

    def validation_batches(self, batch_size):
        """This rank's share of the validation pictures, one in every `ranks`, in their order.

        Parameters
        ----------
        batch_size : int
            B, at least 1.

        Returns
        -------
        iterator
            Pairs x (B, size, size, 3) float32, labels (B,) int64. The last batch may be smaller,
            and a batch with damaged pictures is. A batch without pictures is left out.

        Raises
        ------
        ValueError
            If the batch size is below 1.
        DamagedPicture
            Under `strict`; raised by the iterator.
        """
        check_counts(1, batch_size=batch_size)
        share = np.arange(self.rank, len(self._validation.names), self.ranks)
        rows = [share[i : i + batch_size] for i in range(0, len(share), batch_size)]
        return self._batches(self._validation, rows, None)

    def _batches(self, pictures, batches, seed):
        """Batches of `pictures`, for the rows in `batches`; a seed means training."""
        orders = (
            [(pictures.path(i), None if seed is None else (seed, i)) for i in rows.tolist()]
            for rows in batches
        )
        shifts = None
        if seed is not None and self._recipe.colour_noise:
            shifts = colour_shifts(len(pictures.names), self._recipe.colour_noise, seed)
        largest = max(map(len, batches), default=1)
        with closing(self._decoders.batches(orders, largest)) as decoded:
            for rows, (pixels, errors) in zip(batches, decoded):
                damaged = [error for error in errors if error is not None]
                for error in damaged:
                    if self.strict:
                        raise error
                    self.damaged.setdefault(error.path, error.reason)
                if damaged:
                    whole = [error is None for error in errors]
                    pixels, rows = pixels[whole], rows[whole]
                if len(rows):
                    x = _normalized(pixels, self._recipe.std)
                    if shifts is not None:
                        x += shifts[rows][:, None, None]
                    yield x, pictures.labels[rows]
                elif seed is not None:  # all ranks would have to agree to leave out this step
                    count = f"all {len(damaged)} pictures of a batch are damaged"
                    reason = f"{damaged[0].reason}; {count}, so none is left"
                    raise DamagedPicture(damaged[0].path, reason)


def _files(folder):
    """Dict of class -> names of its pictures, both sorted."""
    existing(folder, "folder", "one with a folder per class")
    entries = os.scandir(folder)
    classes = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    if not classes:
        raise ValueError(f"{folder}: no classes; expected a folder for each class")
    files = {}
    for name in classes:
        files[name] = sorted(e.name for e in os.scandir(folder / name) if _is_picture(e))
        if not files[name]:
            raise ValueError(f"{folder / name}: an empty class; expected *{', *'.join(ENDINGS)}")
    return files


def _is_picture(entry):
    name = entry.name.lower()
    return name.endswith(ENDINGS) and not name.startswith(".") and entry.is_file()


def _pictures(folder, classes, files):
    names = [name for c in classes for name in files.get(c, [])]
    counts = [len(files.get(c, [])) for c in classes]
    return _Pictures(folder, classes, names, np.repeat(np.arange(len(classes)), counts))


def colour_shifts(count, deviation, seed):
    """Σ αₖ λₖ pₖ of each picture, (N, 3), with αₖ ~ N(0, deviation²)."""
    rng = np.random.default_rng((seed, count))  # as for a picture after the last one
    alpha = rng.normal(0, deviation, (count, 3))
    return (alpha * EIGENVALUES @ np.transpose(EIGENVECTORS)).astype(np.float32)


def _normalized(pixels, std):
    """(pixel/255 − mean)/std of pixels (B, H, W, 3)."""
    # on rows of pixels, because NumPy is slow along an axis of 3
    rows = pixels.reshape(*pixels.shape[:2], -1)
    mean, std = (np.tile(np.float32(channel), pixels.shape[2]) for channel in (MEAN, std))
    x = np.multiply(rows, 1 / (255 * std), dtype=np.float32)
    x -= mean / std
    return x.reshape(pixels.shape)
