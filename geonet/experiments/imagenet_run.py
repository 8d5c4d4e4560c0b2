"""One training of a ResNet, which is saved on its way, and goes on from there bit for bit."""

import json
import os
import sys
from functools import partial
from pathlib import Path

import numpy as np

from geonet.experiments.harness.classification import MOMENTUM, Curves
from geonet.experiments.harness.experiment import generators
from geonet.models import resnet18, resnet34, resnet50
from geonet.text import BadInput
from geonet.train import (
    SGD,
    CheckpointNotWritten,
    Checkpoints,
    CosineSchedule,
    Position,
    StepSchedule,
    WarmUp,
    fit,
)
from geonet.train.optimizers import decay_of
from geonet.train.parallel import DataParallel, sum_over_ranks, world

NETWORKS = {"resnet18": resnet18, "resnet34": resnet34, "resnet50": resnet50}
SCHEDULES = "cosine", "step"
OF_ALL_RUNS = "methods", "seeds", "lr", "execution"  # what in a configuration makes no run another


class Run:
    """One training, which can be saved after any step and taken up from there.

    Parameters
    ----------
    config : dict
        With what `ImageNet.execution` says.
    method : str
    seed : int
    lr : float
    data : ImageFolders
    """

    def __init__(self, config, method, seed, lr, data):
        self.config, self.execution, self.data = config, config["execution"], data
        self.rank, self.ranks, self.comm = world()
        self.total = np.asarray if self.comm is None else partial(sum_over_ranks, self.comm)
        shared = {name: value for name, value in config.items() if name not in OF_ALL_RUNS}
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
        self.schedule = _schedule(self.optimizer, config)
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
        """Metrics and arrays of the run, as `Experiment.run_one` has them."""
        self._begin()
        history = fit(
            self.model,
            self.curves.loss,
            self.data,
            self.optimizer,
            epochs=self.config["epochs"],
            batch_size=self.config["batch_size"],
            rng=self.rng,
            monitor=self._end_epoch,
            schedule=self.schedule,
            position=self.position,
            on_step=self._end_step,
            on_epoch=lambda: self._save(self.curves.epochs[-1][3]),
            label=self.label,
        )
        self.checkpoints.keep, self.checkpoints.scores = 1, {}
        self._save()  # the last weights stay, the others go
        train_loss, _, _, top1, top5 = self.curves.epochs[-1].tolist()
        metrics = {"test_top1": top1, "test_top5": top5, "train_loss": train_loss}
        return metrics | {"steps": history.steps, "damaged": self._damaged()}, self.curves.arrays()

    def _begin(self):
        """Take up the newest checkpoint under --resume, or else begin anew."""
        state = None
        if self.rank == 0:
            state = self._found() if self.execution["resume"] else self.checkpoints.clear()
        if self.comm is not None:
            state = self.comm.bcast(state)
        if state is not None:
            for name, part in self._parts.items():
                part.load_state_dict(state[name])
            self.known_damaged = json.loads(state["damaged"])

    def _found(self):
        """The state in the newest checkpoint that is of use, if there is one."""
        found = self.checkpoints.load()
        for sentence in self.checkpoints.refused:
            print(f"imagenet: {sentence}", file=sys.stderr)
        if found is not None and found[0].get("identity") != self.identity:
            raise BadInput(
                f"{self.checkpoints.folder} holds checkpoints of another run: choose another "
                "--out, or leave out --resume to begin anew"
            )
        return found and found[0]

    def _end_step(self):
        if self.position.history.steps % self.execution["checkpoint_every"] == 0:
            self._save()

    def _end_epoch(self, model):
        if self.comm is not None:
            self._average_statistics()
        return self.curves.end_epoch(model)

    def _average_statistics(self):
        """One state of the model for all processes, whose parameters are the same anyway."""
        state, parameters = self.model.state_dict(), dict(self.model.named_parameters())
        for name in state:
            if name not in parameters:
                state[name] = self.total(state[name]) / self.ranks
        self.model.load_state_dict(state)

    def _save(self, score=None):
        """Write a checkpoint; if that fails, say so and go on."""
        if self.comm is not None:
            self._average_statistics()
            self.curves.share(self.ranks)
        damaged = self._damaged()
        if self.rank == 0:
            state = {name: part.state_dict() for name, part in self._parts.items()}
            state |= {"identity": self.identity, "damaged": json.dumps(damaged)}
            try:
                self.checkpoints.save(state, self.position.history.steps, score)
            except CheckpointNotWritten as error:
                print(f"imagenet: not saved, but going on: {error}", file=sys.stderr)

    def _damaged(self):
        """Path in the folder -> reason, of the damaged pictures that all processes met so far."""
        own = {_name(path, self.data.path): str(r) for path, r in self.data.damaged.items()}
        met = [own] if self.comm is None else self.comm.allgather(own)
        everything = [item for part in (self.known_damaged, *met) for item in part.items()]
        return dict(sorted(everything))


def _name(path, folder):
    """A path within a folder, in characters that any file can hold."""
    return os.path.relpath(path, folder).encode(errors="backslashreplace").decode()


def _schedule(optimizer, config):
    """What lowers the rate after each epoch."""
    warmup = config["warmup"]
    epochs = config["epochs"] - warmup
    if config["schedule"] == "step":
        schedule = StepSchedule(optimizer, -(-epochs // 3))
    else:
        schedule = CosineSchedule(optimizer, epochs)
    return WarmUp(schedule, warmup) if warmup else schedule
