"""Optimizers, schedules and the training loop."""

from geonet.train.fit import Diverged, History, fit, predict
from geonet.train.optimizers import SGD, Adam, AdamW
from geonet.train.progress import Progress
from geonet.train.schedules import CosineSchedule, EarlyStopping, ReduceLROnPlateau, StepSchedule

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "CosineSchedule",
    "Diverged",
    "EarlyStopping",
    "History",
    "Progress",
    "ReduceLROnPlateau",
    "StepSchedule",
    "fit",
    "predict",
]
