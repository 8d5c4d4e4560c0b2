"""Four small sets, each with a network that trains in a second or less."""

import functools
from typing import NamedTuple

import numpy as np

from geonet import ops
from geonet.data.image_arrays import SCALE
from geonet.data.tables import standardize_target
from geonet.experiments.harness.experiment import generators
from geonet.experiments.harness.small_networks import root_mean_square
from geonet.experiments.sets.banana import generate_banana, split_banana
from geonet.experiments.sets.drawn_pictures import CLASSES, paint
from geonet.experiments.sets.friedman import load_friedman
from geonet.experiments.sets.levy import load_levy
from geonet.models import mlp, vgg6

MOMENTUM = 0.9  # of running statistics: with 0.99 they would still depend on their start
GENERATED = 5300  # points of Banana, from which some are chosen
PICTURES, SIDE, PICTURE_CLASSES = (640, 400), 12, ("disk", "stripes")


class Problem(NamedTuple):
    """A data set, and the network, loss and training for it."""

    data: object  # generator -> (train x, y), (test x, y)
    network: object  # method, options -> model
    loss: object
    epochs: int
    batch_size: int | None

    @property
    def classifies(self):
        return self.loss is not ops.mae


def _levy(rng):
    train, _, test = load_levy(rng)
    return train, test


def _banana(rng):
    train, _, test = split_banana(*generate_banana(GENERATED, rng), rng)
    return train, test


def _friedman(rng):
    train, _, test = standardize_target(load_friedman("friedman1", rng))[0]
    return train, test


def _pictures(rng):
    labels = rng.integers(0, len(PICTURE_CLASSES), sum(PICTURES))
    pixels = paint(np.array([CLASSES.index(name) for name in PICTURE_CLASSES])[labels], rng, SIDE)
    mean = pixels[: PICTURES[0]].mean(axis=(0, 1, 2))
    x = ((pixels - mean) / SCALE).astype(np.float32)
    train, test = (slice(PICTURES[0]), slice(PICTURES[0], None))
    return (x[train], labels[train]), (x[test], labels[test])


def _convnet(method, **details):
    model = vgg6(method, widths=(8, 8, 16, 16), num_classes=len(PICTURE_CLASSES), **details)
    for _, module in model.named_modules():
        if hasattr(module, "momentum"):
            module.momentum = MOMENTUM
    return model


PROBLEMS = {
    "levy": Problem(_levy, functools.partial(mlp, [1, 100, 1]), ops.mae, 600, None),
    "banana": Problem(
        _banana, functools.partial(mlp, [2, 10, 1]), ops.binary_cross_entropy, 120, 128
    ),
    "friedman": Problem(_friedman, functools.partial(mlp, [10, 30, 1]), ops.mae, 150, 100),
    "pictures": Problem(_pictures, _convnet, ops.cross_entropy, 5, 20),
}


@functools.lru_cache(maxsize=64)  # a process uses each many times
def load_problem_data(name, seed):
    """The data of a problem for a seed: train (x, y), test (x, y)."""
    return PROBLEMS[name].data(generators(seed, 3)[0])


def error_of(problem, prediction, y):
    """RMSE, or the share of wrong labels. It is infinite if predictions overflow."""
    with np.errstate(over="ignore", invalid="ignore"):
        if problem.loss is ops.mae:
            return root_mean_square(prediction - y)
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
