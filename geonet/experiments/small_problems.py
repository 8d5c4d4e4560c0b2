"""Four small sets, each with a network that trains in a second or less."""

import functools
from typing import NamedTuple

import numpy as np

from geonet import ops
from geonet.data.image_arrays import SCALE
from geonet.data.tables import Split, standardize_target
from geonet.experiments.harness.experiment import generators
from geonet.experiments.harness.small_networks import rmse
from geonet.experiments.sets.banana import generate_banana, split_banana
from geonet.experiments.sets.drawn_pictures import CLASSES, paint
from geonet.experiments.sets.friedman import load_friedman
from geonet.experiments.sets.levy import load_levy
from geonet.models import mlp, vgg6

MOMENTUM = 0.9  # of running statistics: with 0.99 they would still depend on their start
GENERATED = 5300  # points of Banana, from which some are chosen
PICTURES = {"train": 640, "test": 400, "validation": 160}  # in the order in which they are drawn
SIDE, PICTURE_CLASSES = 12, ("disk", "stripes")


class Problem(NamedTuple):
    """A data set, and the network, loss and training for it."""

    data: object  # generator -> Split
    network: object  # method, options -> model
    loss: object
    epochs: int
    batch_size: int | None

    @property
    def classifies(self):
        return self.loss is not ops.mae


def _banana(rng):
    return split_banana(*generate_banana(GENERATED, rng), rng)


def _friedman(rng):
    return standardize_target(load_friedman("friedman1", rng))[0]


def _pictures(rng):
    drawn, sizes = [], list(PICTURES.values())
    for count in (sizes[0] + sizes[1], sizes[2]):
        labels = rng.integers(0, len(PICTURE_CLASSES), count)
        kinds = np.array([CLASSES.index(name) for name in PICTURE_CLASSES])
        drawn.append((paint(kinds[labels], rng, SIDE), labels))
    pixels, labels = map(np.concatenate, zip(*drawn, strict=True))
    mean = pixels[: sizes[0]].mean(axis=(0, 1, 2))
    x = ((pixels - mean) / SCALE).astype(np.float32)
    rows = np.split(np.arange(len(x)), np.cumsum(sizes)[:-1])
    return Split(**{part: (x[own], labels[own]) for part, own in zip(PICTURES, rows)})


def _convnet(method, **details):
    model = vgg6(method, widths=(8, 8, 16, 16), num_classes=len(PICTURE_CLASSES), **details)
    for _, module in model.named_modules():
        if hasattr(module, "momentum"):
            module.momentum = MOMENTUM
    return model


PROBLEMS = {
    "levy": Problem(load_levy, functools.partial(mlp, [1, 100, 1]), ops.mae, 600, None),
    "banana": Problem(
        _banana, functools.partial(mlp, [2, 10, 1]), ops.binary_cross_entropy, 120, 128
    ),
    "friedman": Problem(_friedman, functools.partial(mlp, [10, 30, 1]), ops.mae, 150, 100),
    "pictures": Problem(_pictures, _convnet, ops.cross_entropy, 5, 20),
}


@functools.lru_cache(maxsize=64)  # a process uses each many times
def load_problem_data(name, seed):
    """The three parts of a problem's data for a seed, a Split."""
    return PROBLEMS[name].data(generators(seed, 3)[0])


def error_of(problem, prediction, y):
    """RMSE, or the share of wrong labels. It is infinite if predictions overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        if problem.loss is ops.mae:
            return rmse(prediction, y)
        if problem.loss is ops.binary_cross_entropy:
            return float(np.mean((prediction > 0) != (y > 0.5)))
        return float(np.mean(prediction.argmax(axis=1) != y))


def constant_baseline(problem, train_y, test_y):
    """Training loss and test error of the constant answers that are best on the training data."""
    if not problem.classifies:
        loss = np.abs(train_y - np.median(train_y)).mean()
        return float(loss), error_of(problem, train_y.mean(), test_y)
    labels, counts = np.unique(train_y, return_counts=True)
    shares = counts / counts.sum()
    return float(-shares @ np.log(shares)), float(np.mean(test_y != labels[counts.argmax()]))
