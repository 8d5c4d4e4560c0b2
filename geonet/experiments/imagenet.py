"""ImageNet: a ResNet under every method (table 3 of the paper).

SGD with momentum 0.9 on the cross-entropy, with photographs in one folder per class, or with
pictures that are drawn for this experiment and read in the same way. The validation pictures are
evaluated after each epoch but do not influence training: what is reported is the accuracy of the
last epoch's weights on the centre crop of each.

Checkpoints are written during a run, and a resumed run continues bit for bit as if it had not been
interrupted. Processes started by mpiexec train together: each takes its share of the pictures, and
only the first one writes. Methods that normalize use the batch of each process, and their running
statistics are averaged over the processes before they are used or saved.
"""

import contextlib
import json
import math
import os
import sys
import traceback
from functools import partial
from pathlib import Path

import numpy as np

from geonet.data.decoding import DamagedPicture
from geonet.data.image_folders import ImageFolders
from geonet.experiments.harness import executors
from geonet.experiments.harness.classification import MOMENTUM, Classification, Curves
from geonet.experiments.harness.experiment import generators
from geonet.experiments.harness.statistics import mean_interval
from geonet.experiments.sets.drawn_pictures import write_pictures
from geonet.models import STEMS, resnet18, resnet34, resnet50
from geonet.text import BadInput
from geonet.train import (
    SGD,
    CheckpointNotWritten,
    Checkpoints,
    CosineSchedule,
    Diverged,
    Position,
    StepSchedule,
    WarmUp,
    fit,
)
from geonet.train.optimizers import check_range, decay_of
from geonet.train.parallel import DataParallel, sum_over_ranks, world

NETWORKS = {"resnet18": resnet18, "resnet34": resnet34, "resnet50": resnet50}
SCHEDULES = "cosine", "step"
LARGE_SIZE = 64  # the stem reduces pictures whose side is at least this
MAX_NAMED = 3  # how many damaged pictures are named below the table

# Options with numbers: the minimum, a bound that they must stay below, and the help text.
CONFIG_OPTIONS = {
    "width": (1e-3, math.inf, "multiplies the channels of the network"),
    "size": (8, 4096, "side of the pictures that the network sees, in pixels"),
    "epochs": (1, math.inf, "passes over the training pictures"),
    "batch_size": (1, math.inf, "pictures per step and process"),
    "warmup": (0, math.inf, "epochs in which the rate rises, before the schedule begins"),
    "weight_decay": (0, math.inf, "half of this times the squared norm of all weights is added "
                     "to the loss under every parameterization; angles and biases do not decay"),
    "label_smoothing": (0, 1, "share of each label that is spread evenly over all classes"),
}  # fmt: skip
EXECUTION_OPTIONS = {
    "workers": (0, 1024, "processes that decode pictures"),
    "checkpoint_every": (1, math.inf, "steps between checkpoints; each epoch also ends with one"),
    "keep": (1, math.inf, "how many of the last checkpoints of a run to keep, besides the best"),
}
COMMON_DEFAULTS = {"warmup": 0, "weight_decay": 1e-4, "label_smoothing": 0.0}
DRAWN_DEFAULTS = COMMON_DEFAULTS | {"width": 0.25, "size": 64, "epochs": 20, "batch_size": 32}
DATA_DEFAULTS = COMMON_DEFAULTS | {"width": 1.0, "size": 224, "epochs": 90, "batch_size": 64}
EXECUTION_DEFAULTS = {"workers": max(1, os.cpu_count() - 1), "checkpoint_every": 500, "keep": 3}
QUICK_DEFAULTS = {"width": 0.25, "size": 64, "epochs": 2}
NOT_OF_ONE_RUN = "methods", "seeds", "lr", "execution"  # config that is not of one run alone


class ImageNet(Classification):
    """Classification of photographs by a ResNet."""

    name = "imagenet"
    summary = "a ResNet on photographs in folders, on one machine or many (table 3)"
    methods = "BN,WN+MBN,GmP+IMN"
    resume_hint = "the same command with --resume (and without --overwrite)"

    def add_arguments(self, parser):
        super().add_arguments(parser)
        text = "folder with train/CLASS/*.JPEG and val/CLASS/*.JPEG (default: pictures that are "
        parser.add_argument("--data", help=f"{text}drawn and stored in --out)")
        text = "network (default: %(default)s)"
        parser.add_argument("--arch", choices=tuple(NETWORKS), default="resnet18", help=text)
        text = f"first layers of the network (default: small for sizes below {LARGE_SIZE})"
        parser.add_argument("--stem", choices=STEMS, help=text)
        text = "lower the rate along a cosine, or to a tenth after each third of the epochs"
        text += " (default: %(default)s)"
        parser.add_argument("--schedule", choices=SCHEDULES, default="cosine", help=text)
        for name, (_, _, text) in (CONFIG_OPTIONS | EXECUTION_OPTIONS).items():
            drawn = (DRAWN_DEFAULTS | EXECUTION_DEFAULTS)[name]
            data = (DATA_DEFAULTS | EXECUTION_DEFAULTS)[name]
            default = f"{drawn:g}" if drawn == data else f"{drawn:g}, or {data:g} with --data"
            text += f" (default: {default})"
            parser.add_argument(f"--{name.replace('_', '-')}", type=type(data), help=text)
        text = "stop at a damaged picture or a class without validation pictures"
        parser.add_argument("--strict", action="store_true", help=text)
        text = "continue unfinished runs from their last checkpoint, not from the start"
        parser.add_argument("--resume", action="store_true", help=text)

    def add_execution_arguments(self, parser):
        """No options: a run uses threads, processes that decode pictures, and mpiexec."""

    def executor(self, arguments):
        return executors.InThisProcess()

    def configure(self, arguments):
        if arguments.resume and arguments.overwrite:
            raise ValueError("--resume continues what --overwrite removes: choose one of them")
        defaults = DRAWN_DEFAULTS if arguments.data is None else DATA_DEFAULTS
        quick = QUICK_DEFAULTS if arguments.quick else {}
        numbers = _numbers(arguments, CONFIG_OPTIONS, defaults | quick)
        self.execution(arguments)  # checks its numbers before anything is drawn
        check_range("--warmup", numbers["warmup"], 0, numbers["epochs"])
        stem = arguments.stem or ("small" if numbers["size"] < LARGE_SIZE else "imagenet")
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
            "schedule": arguments.schedule,
            "processes": ranks,
        }  # fmt: skip

    def _folder(self, arguments):
        """The folder of the pictures. Without --data, they are drawn if that has not been done."""
        if arguments.data is not None:
            return Path(arguments.data).resolve()
        folder = Path(arguments.out, "pictures").resolve()
        if not folder.exists():
            if Path(arguments.out, "results.json").exists() and not arguments.overwrite:
                raise ValueError(
                    f"{arguments.out} holds results, but not the pictures that are drawn for this "
                    "experiment: choose another --out, or use --overwrite"
                )
            write_pictures(folder, np.random.default_rng(0))
        return folder

    def execution(self, arguments):
        numbers = _numbers(arguments, EXECUTION_OPTIONS, EXECUTION_DEFAULTS)
        switches = {name: getattr(arguments, name) for name in ("strict", "resume")}
        return {"execution": numbers | switches | {"out": arguments.out}}

    def main(self, arguments, executor=None):
        """As for other experiments. Of several processes, the first leads and the others follow."""
        rank, _, comm = world()
        if comm is None:
            return super().main(arguments, executor)
        if rank == 0:
            try:
                return super().main(arguments)
            finally:
                comm.bcast(None)
        while (run := comm.bcast(None)) is not None:
            with contextlib.suppress(Diverged):  # as in all processes
                self._train(*run)
        return 0

    def run_one(self, config, method, seed, lr, split):
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
        try:
            with ImageFolders(folder, config["size"], **options, rank=rank, ranks=ranks) as data:
                return Run(config, method, seed, lr, data).train()
        except Diverged:  # raised in all processes at the same step
            raise
        except BaseException as error:
            if comm is not None:  # the other processes would wait for this one
                known = isinstance(error, DamagedPicture | BadInput | OSError)
                message = f"geonet: {error}" if known else traceback.format_exc()
                print(message, file=sys.stderr, flush=True)
                comm.Abort(2)
            if isinstance(error, DamagedPicture):
                raise BadInput(str(error)) from error
            raise

    def describe(self, config):
        source = "pictures drawn" if config["data"] is None else Path(config["data"]).name
        train, test = config["pictures"]
        together = f" in {n} processes" if (n := config["processes"]) > 1 else ""
        return (
            f"{config['arch']} of width {config['width']:g} on {source} ({train} to train, {test} "
            f"to test, {config['classes']} classes) at {config['size']}×{config['size']}, "
            f"batches of {config['batch_size']}{together}, {config['schedule']} schedule, "
            f"{config['epochs']} epochs, {len(config['seeds'])} seeds"
        )

    def rows(self, results):
        """Accuracy on centre crops in percent, mean ± standard deviation over seeds."""
        rows = [("method", "rate", "top-1, %", "top-5, %", "diverged")]
        for method in results.config["methods"]:
            top1, top5 = (100 * results.metrics(method, f"test_top{k}") for k in (1, 5))
            lost = f"{np.count_nonzero(np.isnan(top1))} of {len(top1)}"
            lr = f"{results.lr(method):g}"
            rows.append((method, lr, _percent(top1), _percent(top5), lost))
        return rows

    def notes(self, results):
        yield from super().notes(results)
        damaged = {}
        for run in results.runs.values():
            damaged |= run["metrics"].get("damaged", {})
        if damaged:
            named = [f"{path} ({reason})" for path, reason in sorted(damaged.items())[:MAX_NAMED]]
            more = ["…"] if len(damaged) > MAX_NAMED else []
            yield f"pictures left out as damaged: {len(damaged)}, {', '.join(named + more)}"


def _numbers(arguments, limits, defaults):
    """name -> the number that was given, or else its default, after checking its limits."""
    given = {name: getattr(arguments, name) for name in limits}
    numbers = {name: defaults[name] if n is None else n for name, n in given.items()}
    for name, (low, high, _) in limits.items():
        check_range(f"--{name.replace('_', '-')}", numbers[name], low, high)
    return numbers


def _percent(values):
    """Mean ± standard deviation of the finite values."""
    known = values[np.isfinite(values)]
    if not known.size:
        return ""
    interval = mean_interval(known)
    return f"{interval.mean:.2f}" + ("" if np.isnan(interval.std) else f" ± {interval.std:.2f}")


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
        self.total = np.asarray if self.comm is None else partial(sum_over_ranks, self.comm)
        shared = {name: value for name, value in config.items() if name not in NOT_OF_ONE_RUN}
        self.identity = json.dumps([shared, method, seed, lr], sort_keys=True)
        self.label = f"imagenet, {method}, seed {seed}:" if self.rank == 0 else None
        folder = Path(self.execution["out"], "checkpoints", f"{method}-{seed}")
        self.checkpoints = Checkpoints(folder, self.execution["keep"])
        model_rng, self.rng = generators(seed, 2)
        names = "num_classes", "width", "stem", "init"
        options = {"num_classes": data.num_classes} | {n: config[n] for n in names[1:]}
        self.model = NETWORKS[config["arch"]](method, rng=model_rng, **options)
        self.optimizer = SGD(
            self.model.parameters(), lr, MOMENTUM,
            weight_decay=decay_of(self.model, config["weight_decay"]),
        )  # fmt: skip
        if self.comm is not None:
            self.optimizer = DataParallel(self.optimizer, self.comm)
        self.schedule = make_schedule(self.optimizer, config)
        self.curves = Curves(
            partial(data.validation_batches, config["batch_size"]),
            config["label_smoothing"],
            self.total,
        )
        self.position, self.known_damaged = Position(), {}

    @property
    def _parts(self):
        names = "model", "optimizer", "schedule", "curves", "position"
        return {name: getattr(self, name) for name in names}

    def train(self):
        """Train, and return metrics and arrays as `Experiment.run_one` does."""
        self._restore_or_clear()
        history = fit(
            self.model,
            self.curves.loss,
            self.data,
            self.optimizer,
            epochs=self.config["epochs"],
            batch_size=self.config["batch_size"],
            rng=self.rng,
            monitor=self.end_epoch,
            schedule=self.schedule,
            position=self.position,
            on_step=self.end_step,
            on_epoch=lambda: self.save(self.curves.epochs[-1][3]),
            label=self.label,
        )
        self.checkpoints.keep, self.checkpoints.scores = 1, {}
        self.save()  # keep the last weights only
        train_loss, _, _, top1, top5 = self.curves.epochs[-1].tolist()
        metrics = {"test_top1": top1, "test_top5": top5, "train_loss": train_loss}
        metrics |= {"steps": history.steps, "damaged": self._damaged_so_far()}
        return metrics, self.curves.arrays()

    def _restore_or_clear(self):
        """With --resume, continue from the newest checkpoint; otherwise remove all of them."""
        state = None
        if self.rank == 0:
            if self.execution["resume"]:
                state = self._load_checkpoint()
            else:
                self.checkpoints.clear()
        if self.comm is not None:
            state = self.comm.bcast(state)
        if state is not None:
            for name, part in self._parts.items():
                part.load_state_dict(state[name])
            self.known_damaged = json.loads(state["damaged"])

    def _load_checkpoint(self):
        """The state in the newest checkpoint that can be read, or None."""
        found = self.checkpoints.load()
        for sentence in self.checkpoints.refused:
            print(f"imagenet: {sentence}", file=sys.stderr)
        if found is not None and found[0].get("identity") != self.identity:
            raise BadInput(
                f"{self.checkpoints.folder} holds checkpoints of another run: choose another "
                "--out, or omit --resume to start again"
            )
        return found and found[0]

    def end_step(self):
        """Save the run if it is time for that."""
        if self.position.history.steps % self.execution["checkpoint_every"] == 0:
            self.save()

    def end_epoch(self, model):
        """Evaluate the model, as `Curves.end_epoch` does."""
        if self.comm is not None:
            self._average_statistics()
        return self.curves.end_epoch(model)

    def _average_statistics(self):
        """Give all processes the mean of their running statistics. Parameters are equal anyway."""
        state, parameters = self.model.state_dict(), dict(self.model.named_parameters())
        for name in state:
            if name not in parameters:
                state[name] = self.total(state[name]) / self.ranks
        self.model.load_state_dict(state)

    def save(self, score=None):
        """Write a checkpoint. If that fails, say so and continue."""
        if self.comm is not None:
            self._average_statistics()
            self.curves.average_over_processes(self.ranks)
        damaged = self._damaged_so_far()
        if self.rank == 0:
            state = {name: part.state_dict() for name, part in self._parts.items()}
            state |= {"identity": self.identity, "damaged": json.dumps(damaged)}
            try:
                self.checkpoints.save(state, self.position.history.steps, score)
            except CheckpointNotWritten as error:
                print(f"imagenet: not saved, but training continues: {error}", file=sys.stderr)

    def _damaged_so_far(self):
        """Path in the folder -> reason, for the damaged pictures found so far by all processes."""
        own = {_name(path, self.data.path): str(r) for path, r in self.data.damaged.items()}
        met = [own] if self.comm is None else self.comm.allgather(own)
        everything = [item for part in (self.known_damaged, *met) for item in part.items()]
        return dict(sorted(everything))


def _name(path, folder):
    """A path relative to a folder, with all of its characters encodable."""
    return os.path.relpath(path, folder).encode(errors="backslashreplace").decode()


def make_schedule(optimizer, config):
    """The schedule that changes the learning rate after each epoch."""
    warmup = config["warmup"]
    epochs = config["epochs"] - warmup
    if config["schedule"] == "step":
        schedule = StepSchedule(optimizer, -(-epochs // 3))
    else:
        schedule = CosineSchedule(optimizer, epochs)
    return WarmUp(schedule, warmup) if warmup else schedule


EXPERIMENT = ImageNet()
