"""ImageNet: a ResNet under every method (table 3 of the paper).

SGD with momentum 0.9 on the cross-entropy, with photographs in one folder per class, or with
pictures that are drawn for this experiment and read in the same way. What is reported is the
accuracy of the last epoch's weights on the middle of each validation picture. Under `clean`, these
pictures do not influence training. `ImageNet.differences` says how `paper` differs.

Checkpoints are written during a run, and a resumed run continues bit for bit as if it had not been
interrupted. Processes started by mpiexec train together: each takes its share of the pictures, and
only the first one writes. Methods that normalize use the batch of each process, and their running
statistics are averaged over the processes before they are used or saved.
"""

import contextlib
import json
import os
import sys
import traceback
from functools import partial
from pathlib import Path

import numpy as np

from geonet import threads, train
from geonet.data.image_folders import ImageFolders
from geonet.experiments.harness.classification import (
    MOMENTUM,
    PATIENCE,
    Classification,
    Curves,
)
from geonet.experiments.harness.experiment import RECIPE_DIFFERENCES, generators, recipe
from geonet.experiments.harness.options import number
from geonet.experiments.harness.results import NOT_OURS
from geonet.experiments.sets.drawn_pictures import WNIDS, write_pictures
from geonet.models import STEMS, resnet18, resnet34, resnet50
from geonet.text import BadInput, check_range, counted
from geonet.train.parallel import cores, sum_over_ranks, world

NETWORKS = {"resnet18": resnet18, "resnet34": resnet34, "resnet50": resnet50}
SCHEDULES = "cosine", "step", "plateau"
RECIPES = {"clean": "inception", "paper": "resnet"}  # of `ImageFolders`
CORES = max(2, threads.available())
LARGE_SIZE = 64  # the stem reduces pictures whose side is at least this
MAX_NAMED = 3  # how many damaged pictures are named below the table
NUMBERS = {  # type, default for drawn pictures, default with --data, and help of options
    "width": (number(float, 1e-3), 0.25, 1.0, "multiplies the channels of the network"),
    "size": (number(int, 8, 4096), 64, 224, "side of what the network sees, in pixels"),
    "epochs": (number(int, 1), 20, 90, "passes over the training pictures"),
    "batch_size": (number(int, 1), 32, 64, "pictures per step and process"),
    "warmup": (number(int, 0), 0, 0, "epochs in which the rate rises, before the schedule begins"),
    "weight_decay": (number(float, 0), 1e-4, 1e-4, "half of this times the squared norm of all "
                     "weights is added to the loss under every parameterization; angles and biases "
                     "do not decay"),
    "label_smoothing": (number(float, 0, 1), 0.0, 0.0, "share of each label that is spread evenly "
                        "over all classes"),
    "workers": (number(int, 0, 1024), CORES - 1, CORES - 1, "processes that decode pictures"),
    "checkpoint_every": (number(int, 1), 500, 500, "steps between checkpoints; each epoch also "
                         "ends with one"),
    "keep": (number(int, 1), 3, 3, "how many of the last checkpoints of a run to keep, besides the "
             "best"),
}  # fmt: skip
EXECUTION = "workers", "checkpoint_every", "keep"  # those that do not affect results
QUICK = {"width": 0.25, "size": 64, "epochs": 2}  # defaults with --quick
PAPER = {"weight_decay": 0.0}  # defaults with --protocol paper
NOT_OF_ONE_RUN = "methods", "seeds", "lr", "execution", "data"  # the last is where the pictures are


class ImageNet(Classification):
    """Classification of photographs by a ResNet."""

    name = "imagenet"
    summary = "a ResNet on photographs in folders, on one machine or many (table 3)"
    methods = "BN,WN+MBN,GmP+IMN"
    differences = (
        ("pixels", "(x/255 − mean)/std", "x/255 − mean"),
        ("training pictures", "parts of 8 to 100 % of the area, mirrored or not",
         "squares of pictures whose shorter side is resized to 256 to 480 (for a size of 224), "
         "mirrored or not, with colours shifted along their principal components"),
        ("validation pictures", "the middle, of a shorter side of 256 (for a size of 224)",
         "the middle, of a shorter side of 368 (for a size of 224)"),
        ("--schedule", "cosine", "plateau: to a tenth after 5 epochs without a better top-5 "
         "accuracy on the validation pictures"),
        ("end of training", "after --epochs", "also after 10 epochs without a better top-5 "
         "accuracy on the validation pictures; as under clean, the last weights are reported"),
        ("--weight-decay", "0.0001", "0"),
        ("--stem", "with padding before the max pooling", "unpadded: from 112 pixels to 55"),
        ("fan-out of k×k convolutions for Glorot", "k²·O",
         "O under geometric and weight-normalized methods, k²·O under the others"),
        *RECIPE_DIFFERENCES,
        ("r of GmP", "outside the ReLU", "as under clean; the authors' residual networks have it "
         "inside, which is the same while r > 0"),
        ("padding of convolutions at stride 2", "the same on both sides",
         "as under clean; TensorFlow pads by 2 and 3 pixels for 7×7 filters, and by 0 and 1 for "
         "3×3 filters on an even side"),
        ("network", "--arch", "as under clean; version 5 of the paper says ResNet-18, versions 1 "
         "to 3 say ResNet-50, and the authors' code is a ResNet-34"),
    )  # fmt: skip
    resume_hint = "the same command with --resume (and without --overwrite)"

    def add_arguments(self, parser):
        super().add_arguments(parser)
        text = "folder with train/CLASS/*.JPEG and val/CLASS/*.JPEG (default: pictures that are "
        text += "drawn and stored in OUT/pictures: the same for every --arch, and they can be "
        text += "named by --data to be drawn only once)"
        parser.add_argument("--data", help=text)
        text = "network (default: %(default)s)"
        parser.add_argument("--arch", choices=tuple(NETWORKS), default="resnet18", help=text)
        text = f"first layers of the network (default: small for sizes below {LARGE_SIZE}, or else "
        text += "imagenet, or unpadded with --protocol paper)"
        parser.add_argument("--stem", choices=STEMS, help=text)
        text = "lower the rate along a cosine, or to a tenth after each third of the epochs, or to "
        text += "a tenth on a plateau (default: cosine, or plateau with --protocol paper)"
        parser.add_argument("--schedule", choices=SCHEDULES, help=text)
        for name, (kind, drawn, data, text) in NUMBERS.items():
            default = f"{drawn:g}" if drawn == data else f"{drawn:g}, or {data:g} for photographs"
            default += f", or {PAPER[name]:g} with --protocol paper" if name in PAPER else ""
            text += f" (default: {default})"
            parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help=text)
        text = "stop at a damaged picture or a class without validation pictures"
        parser.add_argument("--strict", action="store_true", help=text)
        text = "continue unfinished runs from their last checkpoint, not from the start"
        parser.add_argument("--resume", action="store_true", help=text)

    def add_execution_arguments(self, parser):
        """No options: a run uses threads, processes that decode pictures, and mpiexec."""

    def executor(self, arguments):
        return contextlib.nullcontext()

    def configure(self, arguments):
        if arguments.resume and arguments.overwrite:
            raise ValueError("--resume continues what --overwrite removes: choose one of them")
        numbers = {n: x for n, x in _numbers(arguments).items() if n not in EXECUTION}
        check_range("--warmup", numbers["warmup"], 0, numbers["epochs"])
        paper = arguments.protocol == "paper"
        large = "unpadded" if paper else "imagenet"
        stem = arguments.stem or ("small" if numbers["size"] < LARGE_SIZE else large)
        config = super().configure(arguments)
        data = ImageFolders(self._folder(arguments), numbers["size"], strict=arguments.strict)
        for warning in data.warnings:
            print(f"{self.name}: {warning}", file=sys.stderr)
        ranks = world()[1]
        check_range("--batch-size", numbers["batch_size"], 1, data.total_count // ranks + 1)
        return config | numbers | {
            "data": None if arguments.data is None else str(data.path),
            "pictures": [data.total_count, data.validation_count],
            "classes": data.num_classes,
            "names": data.digest,
            "arch": arguments.arch,
            "stem": stem,
            "schedule": arguments.schedule or ("plateau" if paper else "cosine"),
            "processes": ranks,
        }  # fmt: skip

    def _folder(self, arguments):
        """The folder of the pictures. Without --data, they are drawn if that has not been done."""
        if arguments.data is not None:
            return Path(arguments.data).resolve()
        folder = Path(arguments.out, "pictures").resolve()
        if not folder.exists():
            write_pictures(folder, np.random.default_rng(0))
        elif not _drawn(folder):
            raise ValueError(
                f"{folder} is there, without the drawn pictures: choose another --out, or --data"
            )
        return folder

    def execution(self, arguments):
        given = vars(arguments) | _numbers(arguments)
        return {"execution": {n: given[n] for n in (*EXECUTION, "strict", "resume", "out")}}

    def main(self, arguments, executor=None):
        """As for other experiments. Of several processes, the first leads and the others follow."""
        rank, _, comm = world()
        if comm is None:
            return super().main(arguments, executor)
        with threads.limited(getattr(arguments, "threads", None) or cores(comm)):
            if rank == 0:
                try:
                    return super().main(arguments)
                finally:
                    comm.bcast(None)
            while (run := comm.bcast(None)) is not None:
                with contextlib.suppress(train.Diverged):  # as in all processes
                    self._train(*run)
        return 0

    def run_one(self, config, method, seed, lr):
        comm = world()[2]
        if comm is not None:
            comm.bcast((config, method, seed, lr))
        return self._train(config, method, seed, lr)

    def _train(self, config, method, seed, lr):
        """Do a run, or this process's part of it. If one process fails, it ends in all of them."""
        rank, ranks, comm = world()
        execution = config["execution"]
        folder = config["data"] or Path(execution["out"], "pictures")
        options = {name: execution[name] for name in ("workers", "strict")}
        options["recipe"] = RECIPES[config["protocol"]]
        try:
            with ImageFolders(folder, config["size"], **options, rank=rank, ranks=ranks) as data:
                return Run(config, method, seed, lr, data).train()
        except train.Diverged:  # raised in all processes at the same step
            raise
        except BaseException as error:
            if comm is not None:  # the other processes would wait for this one
                known = isinstance(error, BadInput | OSError)
                message = f"geonet: {error}" if known else traceback.format_exc()
                print(message, file=sys.stderr, flush=True)
                comm.Abort(2)
            raise

    def describe(self, config):
        source = "pictures drawn" if config["data"] is None else Path(config["data"]).name
        train, test = config["pictures"]
        together = f" in {n} processes" if (n := config["processes"]) > 1 else ""
        return (
            f"{config['arch']} of width {config['width']:g} on {source} ({train} to train, {test} "
            f"to test, {config['classes']} classes) at {config['size']}×{config['size']}, "
            f"batches of {config['batch_size']}{together}, protocol {config['protocol']}, "
            f"{config['schedule']} schedule, "
            f"{config['epochs']} epochs, {counted(config['seeds'], 'seed')}"
        )

    def notes(self, results):
        yield from super().notes(results)
        damaged = {}
        for run in results.runs.values():
            damaged |= run["metrics"].get("damaged", {})
        if damaged:
            first = sorted(damaged.items())[:MAX_NAMED]
            named = ", ".join(f"{path} ({reason})" for path, reason in first)
            yield f"pictures left out as damaged: {len(damaged)}, {named}"


def _numbers(arguments):
    """name -> the number that was given, or else its default."""
    column = 1 if arguments.data is None or _drawn(arguments.data) else 2
    defaults = {name: row[column] for name, row in NUMBERS.items()}
    defaults |= PAPER if arguments.protocol == "paper" else {}
    defaults |= QUICK if arguments.quick else {}
    given = {n: x for n, x in vars(arguments).items() if n in defaults and x is not None}
    return defaults | given


def _drawn(folder):
    """Whether a folder holds drawn pictures."""
    return all(Path(folder, "train", name).is_dir() for name in WNIDS)


class Run:
    """One training run, which can be saved after any step and resumed from there.

    Parameters
    ----------
    config : dict
        The configuration with what `ImageNet.execution` adds.
    method : str
    seed : int
    lr : float
    data : ImageFolders
    """

    def __init__(self, config, method, seed, lr, data):
        self.config, self.execution, self.data = config, config["execution"], data
        self.rank, self.ranks, self.comm = world()
        shared = {name: value for name, value in config.items() if name not in NOT_OF_ONE_RUN}
        self.identity = json.dumps([shared, method, seed, lr], sort_keys=True)
        self.label = f"imagenet, {method}, seed {seed}:" if self.rank == 0 else None
        folder = Path(self.execution["out"], "checkpoints", f"{method}-{seed}")
        self.checkpoints = train.Checkpoints(folder, self.execution["keep"])
        model_rng, self.rng = generators(seed, 2)
        options = {name: config[name] for name in ("width", "stem", "init")}
        network = NETWORKS[config["arch"]]
        chosen = recipe(config, method)
        self.model = network(chosen, rng=model_rng, num_classes=data.num_classes, **options)
        decay = train.decay_of(self.model, config["weight_decay"])
        self.optimizer = train.SGD(self.model.parameters(), lr, MOMENTUM, weight_decay=decay)
        self.optimizer.comm = self.comm
        self.schedule = make_schedule(self.optimizer, config)
        batches = partial(data.validation_batches, config["batch_size"])
        paper = config["protocol"] == "paper"
        self.curves = Curves(batches, config["label_smoothing"], self.comm, by_top5=paper)
        self.stopping = None
        if paper:
            self.stopping = train.EarlyStopping(self.model, 2 * PATIENCE, restored="never")
        self.position = train.Position()
        names = "model", "optimizer", "schedule", "stopping", "curves", "position"
        parts = {name: getattr(self, name) for name in names}
        self.parts = {name: part for name, part in parts.items() if part is not None}  # to be saved

    def train(self):
        """Train, and return metrics and arrays as `Experiment.run_one` does."""
        if self.execution["resume"]:
            self.resume()
        elif self.rank == 0:
            self.checkpoints.clear()
        history = train.fit(
            self.model,
            self.curves.loss,
            self.data,
            self.optimizer,
            epochs=self.config["epochs"],
            batch_size=self.config["batch_size"],
            rng=self.rng,
            monitor=self.end_epoch,
            schedule=self.schedule,
            stopping=self.stopping,
            position=self.position,
            on_step=self.end_step,
            on_epoch=lambda: self.save(self.curves.epochs[-1][3]),
            label=self.label,
        )
        self.checkpoints.keep, self.checkpoints.scores = 1, {}  # keep the last weights only
        self.save(needed=True)
        metrics = self.curves.metrics() | {"steps": history.steps, "damaged": self.damaged()}
        return metrics, self.curves.arrays()

    def resume(self):
        """Continue from the newest checkpoint that can be read, if there is one."""
        found = self.checkpoints.load() if self.rank == 0 else None
        for sentence in self.checkpoints.refused:
            print(f"imagenet: {sentence}", file=sys.stderr)
        if self.comm is not None:
            found = self.comm.bcast(found)
        if found is None:
            return
        state, _ = found
        try:
            shared, *run = json.loads(state["identity"])
            shared.pop("data", None)  # earlier versions stored where the pictures were
            if [shared, *run] != json.loads(self.identity):
                raise ValueError("the configuration differs")
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
            damaged = json.loads(state["damaged"])
        except NOT_OURS as error:
            raise BadInput(
                f"{self.checkpoints.folder} holds checkpoints of another run or layout "
                f"({type(error).__name__}: {error}): choose another --out, or omit --resume to "
                "replace them"
            ) from error
        self.data.damaged |= {os.path.join(self.data.path, n): r for n, r in damaged.items()}

    def end_step(self):
        """Save the run if it is time for that."""
        if self.position.history.steps % self.execution["checkpoint_every"] == 0:
            self.save()

    def end_epoch(self, model):
        """Evaluate the model, as `Curves.end_epoch` does."""
        self._average_statistics()
        return self.curves.end_epoch(model)

    def _average_statistics(self):
        """Give all processes the mean of their running statistics. Parameters are equal anyway."""
        state, parameters = self.model.state_dict(), dict(self.model.named_parameters())
        means = {
            name: sum_over_ranks(self.comm, value) / self.ranks
            for name, value in state.items()
            if name not in parameters
        }
        self.model.load_state_dict(state | means)

    def save(self, score=None, needed=False):
        """Write a checkpoint. If that fails, say so and continue, unless it is needed."""
        self._average_statistics()
        self.curves.average_over_processes(self.ranks)
        damaged = self.damaged()
        if self.rank == 0:
            state = {name: part.state_dict() for name, part in self.parts.items()}
            state |= {"identity": self.identity, "damaged": json.dumps(damaged)}
            try:
                self.checkpoints.save(state, self.position.history.steps, score)
            except train.CheckpointNotWritten as error:
                if needed:
                    raise
                print(f"imagenet: not saved, but training continues: {error}", file=sys.stderr)

    def damaged(self):
        """Path in the folder -> reason, for the damaged pictures found so far by all processes."""
        folder, found = self.data.path, {}
        for path, reason in self.data.damaged.items():  # a path may hold what cannot be encoded
            name = os.path.relpath(path, folder).encode(errors="backslashreplace").decode()
            found[name] = str(reason)
        if self.comm is not None:
            found = {n: r for part in self.comm.allgather(found) for n, r in part.items()}
        return dict(sorted(found.items()))


def make_schedule(optimizer, config):
    """The schedule that changes the learning rate after each epoch."""
    warmup = config["warmup"]
    epochs = config["epochs"] - warmup
    if config["schedule"] == "step":
        schedule = train.StepSchedule(optimizer, -(-epochs // 3))
    elif config["schedule"] == "plateau":
        schedule = train.ReduceLROnPlateau(optimizer, PATIENCE)
    else:
        schedule = train.CosineSchedule(optimizer, epochs)
    return train.WarmUp(schedule, warmup) if warmup else schedule


EXPERIMENT = ImageNet()
