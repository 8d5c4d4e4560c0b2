"""ImageNet32: a VGG-6 under every method (figure 4 and table 2 of the paper).

SGD with momentum 0.9 on the cross-entropy. Protocols: under `clean` the training loss steers the
learning rate, and the validation images are looked at but decide nothing: what is reported is how
the weights of the last epoch do on them. Under `paper` the validation top-5 also steers the rate,
ends training and picks the weights that are reported, as in the authors' code.
"""

import functools
import os
from pathlib import Path

import numpy as np

from geonet import ops, plots
from geonet.data.imagenet32 import read_imagenet32
from geonet.data.pictures import load_pictures
from geonet.experiments import options
from geonet.experiments.experiment import Experiment, generators, in_words, recipe
from geonet.models import vgg6
from geonet.train import SGD, CosineSchedule, EarlyStopping, ReduceLROnPlateau, fit, predict

MOMENTUM, PATIENCE = 0.9, 5
EVALUATION_BATCH = 250


@functools.cache
def images(path):
    """The images of a folder, or the embedded ones for None."""
    return load_pictures(np.random.default_rng(0)) if path is None else read_imagenet32(path)


def batch_sizes(text, largest):
    """Whole numbers with commas between, each from 1 to `largest`."""
    words = text.split(",")
    if not all(word.strip().isdecimal() and 1 <= int(word) <= largest for word in words):
        raise ValueError(
            f"--batch-sizes must be numbers from 1 to the {largest} training images, not {text!r}"
        )
    return list(dict.fromkeys(map(int, words)))


def top_hits(logits, labels, count):
    """How many labels are among the `count` largest logits of their row; of equals the first."""
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    before = (logits == own) & (np.arange(logits.shape[1]) < labels[:, None])
    above = ~(logits <= own) | before  # what is not a number is never a hit
    return int(np.count_nonzero(above.sum(axis=1) < count))


class Curves:
    """What a run keeps of each epoch, and what steers it.

    Parameters
    ----------
    data : geonet.data.images.ImageSet
    protocol : {"clean", "paper"}
    """

    def __init__(self, data, protocol):
        self.data, self.protocol = data, protocol
        self.epochs = []  # train loss, train top-1, test loss, test top-1, test top-5
        self._batches = []  # of this epoch: loss and hits

    def loss(self, logits, labels):
        """Cross-entropy of a training batch; what it says of the batch is noted."""
        value = ops.cross_entropy(logits, labels)
        self._batches.append((value.item(), top_hits(logits.data, labels, 1) / len(labels)))
        return value

    def end_epoch(self, model):
        """Look at the validation images; the quantity that steers, for which less is better.

        NaN, by which `fit` knows that training diverged, if the validation loss is not finite.
        """
        train_loss, train_top1 = np.mean(self._batches, axis=0)
        self._batches.clear()
        self.epochs.append((train_loss, train_top1, *evaluate(model, self.data)))
        _, _, test_loss, _, top5 = self.epochs[-1]
        steering = train_loss if self.protocol == "clean" else -top5
        return steering if np.isfinite(test_loss) else np.nan

    def arrays(self):
        """The columns by name, (epochs,) each."""
        names = "train_loss", "train_top1", "test_loss", "test_top1", "test_top5"
        return dict(zip(names, np.array(self.epochs).T, strict=True))


def evaluate(model, data):
    """Mean cross-entropy, top-1 and top-5 accuracy (fractions) on the validation images."""
    sums = np.zeros(3)
    with np.errstate(over="ignore", invalid="ignore"):  # of a network that diverged
        for x, labels in data.validation_batches(EVALUATION_BATCH):
            logits = predict(model, x)
            loss = ops.cross_entropy(logits, labels).item() * len(labels)
            sums += loss, top_hits(logits, labels, 1), top_hits(logits, labels, 5)
    return sums / data.validation_count


class ImageNet32(Experiment):
    """Classification of small images by a VGG-6."""

    name = "imagenet32"
    summary = "a VGG-6 on small images, by batch size (figure 4, table 2)"
    metric = "top1"
    metric_title = "test top-1"
    further_metrics = (("test_top5", "test top-5"),)
    larger_is_better = True
    seeds, quick_seeds = "3", "1"
    case = "batch_size"
    draws_one_seed = False
    default_threads = os.cpu_count()

    def add_arguments(self, parser):
        super().add_arguments(parser)
        words = (
            "training loss steers the rate, or validation top-5 as in the authors' code "
            "(default: clean)"
        )
        parser.add_argument("--protocol", choices=("clean", "paper"), default="clean", help=words)
        words = "folder with train_data_batch_1, … and val_data (default: imagenet32 in "
        words += "GEONET_DATA, or pictures that are drawn for the purpose)"
        parser.add_argument("--data", help=words)
        words = "multiplies the channels of the network (default: 1, or 0.25 with --quick)"
        parser.add_argument("--width", type=float, help=words)
        words = "at most (default: 30, or 2 with --quick)"
        parser.add_argument("--epochs", type=int, help=words)
        words = "with commas between (default: 256)"
        parser.add_argument("--batch-sizes", default="256", help=words)
        words = "divide the rate by 10 when it stops to help, or lower it along a cosine"
        words += " (default: plateau)"
        choices = ("plateau", "cosine")
        parser.add_argument("--schedule", choices=choices, default="plateau", help=words)

    def configure(self, arguments):
        config = super().configure(arguments)
        if arguments.lr == "sweep":
            raise ValueError("--lr sweep needs a third part of the data, which ImageNet32 lacks")
        path = options.data_path(arguments.data, "imagenet32")
        path = None if path is None else str(path)
        data = images(path)
        width = (0.25 if arguments.quick else 1.0) if arguments.width is None else arguments.width
        epochs = (2 if arguments.quick else 30) if arguments.epochs is None else arguments.epochs
        if not 0 < width < np.inf or epochs < 1:
            raise ValueError(
                f"--width must be above 0 and --epochs at least 1, but are {width:g} and {epochs}"
            )
        return config | {
            "data": path,
            "images": [data.train_count, data.validation_count],
            "channel_means": [round(mean, 6) for mean in data.mean.tolist()],
            "protocol": arguments.protocol,
            "batch_size": batch_sizes(arguments.batch_sizes, data.train_count),
            "schedule": arguments.schedule,
            "width": width,
            "epochs": epochs,
        }

    def run_one(self, config, method, seed, lr, purpose):
        data = images(config["data"])
        model_rng, batch_rng = generators(seed, 2)
        model = vgg6(
            recipe(config, method),
            num_classes=data.num_classes,
            width=config["width"],
            init=config["init"],
            rng=model_rng,
        )
        optimizer = SGD(model.parameters(), lr, momentum=MOMENTUM)
        curves, steers = Curves(data, config["protocol"]), config["protocol"] == "paper"
        schedule = ReduceLROnPlateau(optimizer, PATIENCE)
        if config["schedule"] == "cosine":
            schedule = CosineSchedule(optimizer, config["epochs"])
        history = fit(
            model,
            curves.loss,
            data,
            optimizer,
            epochs=config["epochs"],
            batch_size=config["batch_size"],
            rng=batch_rng,
            monitor=curves.end_epoch,
            schedule=schedule,
            stopping=EarlyStopping(model, 2 * PATIENCE) if steers else None,
            label=f"{self.name}, {method}, batch {config['batch_size']}, seed {seed}:",
        )
        _, top1, top5 = evaluate(model, data) if steers else curves.epochs[-1][2:]
        metrics = {
            "test_top1": float(top1),
            "test_top5": float(top5),
            "train_loss": history.loss[-1],
            "steps": history.steps,
        }
        return metrics, curves.arrays()

    def describe(self, config):
        source = "embedded pictures" if config["data"] is None else Path(config["data"]).name
        train, test = config["images"]
        return (
            f"VGG-6 of width {config['width']:g} on {source} ({train} to train, {test} to test), "
            f"protocol {config['protocol']}, {config['schedule']} schedule, up to "
            f"{config['epochs']} epochs, {len(config['seeds'])} seeds"
        )

    def figures(self, results, runs, caption):
        for case in self.cases(results.config):
            finished = {m: _finished(results, m, **case) for m in results.config["methods"]}
            if any(finished.values()):
                yield self._curves(results, finished, **case)

    def _curves(self, results, finished, batch_size):
        """Accuracy of all methods over the epochs, in training and after (the paper's figure 4)."""
        names = {
            "training top-1": "train_top1",
            "validation top-1": "test_top1",
            "validation top-5": "test_top5",
        }
        epochs = results.config["epochs"]
        panels = {
            title: {
                m: np.array([_filled(r[name], epochs) for r in f]) for m, f in finished.items() if f
            }
            for title, name in names.items()
        }
        rates = {m: results.rate(m, batch_size=batch_size) for m in finished}
        lost = {m: len(results.config["seeds"]) - len(runs) for m, runs in finished.items()}
        caption = (
            f"{self.describe(results.config)}; batches of {batch_size}; rates: "
            + ", ".join(f"{m} {rate:g}" for m, rate in rates.items())
            + ". Lines: median over seeds; bands: from the lowest to the highest."
        )
        if any(lost.values()):
            caption += " Diverged: " + ", ".join(f"{n} of {m}" for m, n in lost.items() if n) + "."
        figure = plots.learning_curves(panels, "fraction of images", caption)
        last = {m: results.metrics(m, "test_top1", batch_size=batch_size) for m in finished}
        words = (
            "Top-1 and top-5 accuracy of each method over the epochs of training. Mean validation "
            "top-1 of the final weights: "
            + in_words({m: np.nanmean(values) for m, values in last.items() if finished[m]}, ".3f")
        )
        title = f"Training and validation accuracy, batches of {batch_size}"
        return figure, f"curves_{batch_size}", title, words


def _finished(results, method, **case):
    """What was tracked in the runs of a method that did not diverge, a list of dicts of arrays."""
    runs = results.find(method=method, purpose="test", **case)
    return [
        results.arrays(method, run["seed"], **case)
        for run in runs
        if not run["metrics"]["diverged"]
    ]


def _filled(values, length):
    """values (E,) -> (length,), NaN behind."""
    return np.pad(values, (0, length - len(values)), constant_values=np.nan)


EXPERIMENT = ImageNet32()
