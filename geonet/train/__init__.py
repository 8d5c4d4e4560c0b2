"""Optimizers, schedules, the training loop, and checkpoints."""

from geonet.lazy import public_names
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

__all__ = public_names(globals())
