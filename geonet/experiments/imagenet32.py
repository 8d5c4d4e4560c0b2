"""ImageNet32: a VGG-6 under every method (figure 4 and table 2 of the paper).

SGD with momentum 0.9 on the cross-entropy, without weight decay, on images that are mirrored at
random. `ImageNet32.differences` says how the protocols differ. Under `clean`, the validation images
are evaluated but do not influence training, and what is reported is the accuracy of the last
epoch's weights on them.

The methods' initial weights are set apart from the protocol, by --start, since the speed of
learning depends on their scale.
"""

import re
from functools import cache, partial
from pathlib import Path

import numpy as np

from geonet.data.image_arrays import SCALE
from geonet.data.image_files import read_imagenet32
from geonet.experiments.harness import options
from geonet.experiments.harness.classification import (
    MOMENTUM,
    PATIENCE,
    Classification,
    Curves,
    evaluate,
)
from geonet.experiments.harness.experiment import RECIPE_DIFFERENCES, generators, recipe
from geonet.experiments.sets.drawn_pictures import load_pictures
from geonet.models import authors_start, vgg6
from geonet.text import counted
from geonet.train import SGD, CosineSchedule, EarlyStopping, ReduceLROnPlateau, fit

SCHEDULES, STARTS = ("plateau", "cosine"), ("equal", "authors")
FILES = re.compile(r"(train_data_batch_\d+|val_data)(\.npz)?")
EVALUATION_BATCH = 250
SCALES = {"clean": SCALE, "paper": 255.0}  # what pixels are divided by


@cache
def images(path, protocol):
    """The images of a folder, or drawn ones for None."""
    scale = SCALES[protocol]
    if path is None:
        return load_pictures(np.random.default_rng(0), scale)
    return read_imagenet32(path, scale)


def build(config, method, num_classes, rng):
    """The network of a method, with its initial weights."""
    chosen = authors_start(recipe(config, method))
    if config["start"] == "equal":
        chosen = chosen._replace(fan_out="window")
    options = {"num_classes": num_classes, "width": config["width"], "init": config["init"]}
    return vgg6(chosen, **options, rng=rng)


def batch_sizes(text, largest):
    """Integers from a comma-separated list, each from 1 to `largest`."""
    numbers = text.split(",")
    if not all(n.strip().isdecimal() and 1 <= int(n) <= largest for n in numbers):
        raise ValueError(
            f"--batch-sizes must be numbers from 1 to the {largest} training images, not {text!r}"
        )
    return list(dict.fromkeys(map(int, numbers)))


class ImageNet32(Classification):
    """Classification of small images by a VGG-6."""

    name = "imagenet32"
    summary = "a VGG-6 on small images, by batch size (figure 4, table 2)"
    case = "batch_size"
    differences = (
        ("pixels", "(x − mean of the channel)/64, of a variance of about 1", "x/255 − mean"),
        ("--start", "equal", "authors"),
        ("--schedule plateau (5 epochs) watches", "the training loss",
         "the top-5 accuracy on the validation images"),
        ("end of training", "after 30 epochs (--epochs)", "after 500 epochs (--epochs), or 10 "
         "without a better top-5 accuracy on the validation images"),
        ("reported weights", "the last",
         "the best by that accuracy if it ended training, otherwise the last"),
        *RECIPE_DIFFERENCES,
    )  # fmt: skip

    def add_arguments(self, parser):
        super().add_arguments(parser)
        text = "folder with train_data_batch_1, … and val_data (default: imagenet32 in "
        text += "GEONET_DATA, or pictures that are drawn for this experiment)"
        parser.add_argument("--data", help=text)
        text = "multiplies the channels of the network (default: 1, or 0.25 with --quick)"
        parser.add_argument("--width", type=options.number(float, 1e-3), help=text)
        text = "maximum number of epochs (default: 30, 500 with --protocol paper, 2 with --quick)"
        parser.add_argument("--epochs", type=options.number(int, 1), help=text)
        text = "comma list (default: 256; those of the paper are 256,512,1024)"
        parser.add_argument("--batch-sizes", default="256", help=text)
        text = "scale of the initial weights of convolutions by Glorot: equal for all methods, or "
        text += "the authors', which have a fan-out of O filters under geometric and "
        text += "weight-normalized methods, and of 9·O under the others (default: equal, or "
        text += "authors with --protocol paper)"
        parser.add_argument("--start", choices=STARTS, help=text)
        text = "divide the rate by 10 on a plateau, or lower it along a cosine"
        text += " (default: plateau)"
        parser.add_argument("--schedule", choices=SCHEDULES, default="plateau", help=text)

    def configure(self, arguments):
        config = super().configure(arguments)
        path = options.data_path(arguments.data, "imagenet32")
        path = None if path is None else str(path)
        data, digest = images(path, config["protocol"]), None
        paper = config["protocol"] == "paper"
        if path is not None:
            files = sorted(file for file in Path(path).iterdir() if FILES.fullmatch(file.name))
            digest = options.digest_of(files)
        return config | {
            "data": path,
            "sha256": digest,
            "images": [data.train_count, data.validation_count],
            "channel_means": [round(mean, 6) for mean in data.mean.tolist()],
            "batch_size": batch_sizes(arguments.batch_sizes, data.train_count),
            "schedule": arguments.schedule,
            "width": arguments.width or (0.25 if arguments.quick else 1.0),
            "epochs": arguments.epochs or (2 if arguments.quick else 500 if paper else 30),
            "start": arguments.start or ("authors" if paper else "equal"),
        }

    def run_one(self, config, method, seed, lr):
        data = images(config["data"], config["protocol"])
        model_rng, batch_rng = generators(seed, 2)
        model = build(config, method, data.num_classes, model_rng)
        optimizer = SGD(model.parameters(), lr, momentum=MOMENTUM)
        paper = config["protocol"] == "paper"
        validation_batches = partial(data.validation_batches, EVALUATION_BATCH)
        curves = Curves(validation_batches, by_top5=paper)
        stopping = EarlyStopping(model, 2 * PATIENCE, restored="stopped") if paper else None
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
            stopping=stopping,
            label=f"{self.name}, {method}, batch {config['batch_size']}, seed {seed}:",
        )
        metrics, arrays = curves.metrics(), curves.arrays()
        if history.stopped:  # the weights are now the best
            (_, top1, top5), arrays["hits"] = evaluate(model, validation_batches())
            metrics |= {"test_top1": top1, "test_top5": top5}
        return metrics | {"steps": history.steps}, arrays

    def describe(self, config):
        source = "embedded pictures" if config["data"] is None else Path(config["data"]).name
        train, test = config["images"]
        return (
            f"VGG-6 of width {config['width']:g} on {source} ({train} to train, {test} to test), "
            f"protocol {config['protocol']}, {config['start']} start, "
            f"{config['schedule']} schedule, up to {config['epochs']} epochs, "
            f"{counted(config['seeds'], 'seed')}"
        )


EXPERIMENT = ImageNet32()
