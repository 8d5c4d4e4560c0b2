"""Optimizers, schedules, the training loop, and checkpoints."""

from geonet.train.checkpoints import CheckpointNotWritten, Checkpoints, load_state, save_state
from geonet.train.divergence import Diverged
from geonet.train.fit import fit, predict
from geonet.train.optimizers import SGD, Adam, AdamW, damping_of, decay_of
from geonet.train.position import History, Position
from geonet.train.progress import Progress
from geonet.train.schedules import (
    CosineSchedule,
    EarlyStopping,
    ReduceLROnPlateau,
    StepSchedule,
    WarmUp,
)

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "CheckpointNotWritten",
    "Checkpoints",
    "CosineSchedule",
    "Diverged",
    "EarlyStopping",
    "History",
    "Position",
    "Progress",
    "ReduceLROnPlateau",
    "StepSchedule",
    "WarmUp",
    "damping_of",
    "decay_of",
    "fit",
    "load_state",
    "predict",
    "save_state",
]
