"""ImageNet32: a VGG-6 under every method (figure 4 and table 2 of the paper).

SGD with momentum 0.9 on the cross-entropy. Protocols: under `clean`, the training loss controls the
learning rate. The validation images are evaluated but do not influence training, and what is
reported is the accuracy of the last epoch's weights on them. Under `paper`, the validation top-5
accuracy controls the learning rate, ends training and selects the weights that are reported, as in
the authors' code.
"""

import re
from functools import cache, partial
from pathlib import Path

import numpy as np

from geonet.data.image_files import read_imagenet32
from geonet.experiments.harness import options
from geonet.experiments.harness.classification import MOMENTUM, Classification, Curves, evaluate
from geonet.experiments.harness.experiment import generators, recipe
from geonet.experiments.sets.drawn_pictures import load_pictures
from geonet.models import vgg6
from geonet.train import SGD, CosineSchedule, EarlyStopping, ReduceLROnPlateau, fit

SCHEDULES = "plateau", "cosine"
FILES = re.compile(r"(train_data_batch_\d+|val_data)(\.npz)?")
PATIENCE = 5
EVALUATION_BATCH = 250


@cache
def images(path):
    """The images of a folder, or drawn ones for None."""
    return load_pictures(np.random.default_rng(0)) if path is None else read_imagenet32(path)


def batch_sizes(text, largest):
    """Integers from a comma-separated list, each from 1 to `largest`."""
    numbers = text.split(",")
    if not all(n.strip().isdecimal() and 1 <= int(n) <= largest for n in numbers):
        raise ValueError(
            f"--batch-sizes must be numbers from 1 to the {largest} training images, not {text!r}"
        )
    return list(dict.fromkeys(map(int, numbers)))


class PaperCurves(Curves):
    """Curves whose validation top-5 accuracy controls the training."""

    def end_epoch(self, model):
        """Record the epoch, and return minus the top-5 accuracy; NaN as `Curves` does."""
        loss = super().end_epoch(model)
        return -self.epochs[-1][-1] if np.isfinite(loss) else loss


class ImageNet32(Classification):
    """Classification of small images by a VGG-6."""

    name = "imagenet32"
    summary = "a VGG-6 on small images, by batch size (figure 4, table 2)"
    case = "batch_size"
    differences = (
        ("steering of training", "the training loss", "top-5 accuracy on the validation images"),
    )

    def add_arguments(self, parser):
        super().add_arguments(parser)
        text = "folder with train_data_batch_1, … and val_data (default: imagenet32 in "
        text += "GEONET_DATA, or pictures that are drawn for this experiment)"
        parser.add_argument("--data", help=text)
        text = "multiplies the channels of the network (default: 1, or 0.25 with --quick)"
        parser.add_argument("--width", type=options.number(float, 1e-3), help=text)
        text = "maximum number of epochs (default: 30, or 2 with --quick)"
        parser.add_argument("--epochs", type=options.number(int, 1), help=text)
        text = "comma list (default: 256)"
        parser.add_argument("--batch-sizes", default="256", help=text)
        text = "divide the rate by 10 when the loss stops falling, or lower it along a cosine"
        text += " (default: plateau)"
        parser.add_argument("--schedule", choices=SCHEDULES, default="plateau", help=text)

    def configure(self, arguments):
        config = super().configure(arguments)
        path = options.data_path(arguments.data, "imagenet32")
        path = None if path is None else str(path)
        data, digest = images(path), None
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
            "epochs": arguments.epochs or (2 if arguments.quick else 30),
        }

    def run_one(self, config, method, seed, lr):
        data = images(config["data"])
        model_rng, batch_rng = generators(seed, 2)
        network = recipe(config, method)
        shape = {"num_classes": data.num_classes, "width": config["width"]}
        model = vgg6(network, **shape, init=config["init"], rng=model_rng)
        optimizer = SGD(model.parameters(), lr, momentum=MOMENTUM)
        steers = config["protocol"] == "paper"
        validation_batches = partial(data.validation_batches, EVALUATION_BATCH)
        curves = (PaperCurves if steers else Curves)(validation_batches)
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
        tested = evaluate(model, validation_batches()) if steers else curves.epochs[-1][2:]
        _, top1, top5 = tested.tolist()
        metrics = {"test_top1": top1, "test_top5": top5, "train_loss": history.loss[-1]}
        return metrics | {"steps": history.steps}, curves.arrays()

    def describe(self, config):
        source = "embedded pictures" if config["data"] is None else Path(config["data"]).name
        train, test = config["images"]
        return (
            f"VGG-6 of width {config['width']:g} on {source} ({train} to train, {test} to test), "
            f"protocol {config['protocol']}, {config['schedule']} schedule, up to "
            f"{config['epochs']} epochs, {len(config['seeds'])} seeds"
        )


EXPERIMENT = ImageNet32()
