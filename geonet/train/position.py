"""How far a training has come."""

import copy
from dataclasses import asdict, dataclass, field

import numpy as np


@dataclass
class History:
    """What `fit` saw: lists with one entry an epoch."""

    loss: list = field(default_factory=list)  # mean training loss, each step's before its update
    monitored: list = field(default_factory=list)  # the quantity that steered
    lr: list = field(default_factory=list)  # the learning rate at the end of the epoch
    steps: int = 0  # updates made
    stopped: bool = False  # whether early stopping ended it


class Position:
    """Where in its epochs a training stands, so that it can be saved there and go on.

    `fit` advances the position that it is given. Saved by `on_step` or `on_epoch` together with
    the states of model, optimizer, schedule and stopping rule, and loaded into new ones of the
    same making, it lets `fit` go on as if nothing had happened, to the last bit.

    Attributes
    ----------
    history : History
        Of the epochs that have ended; its `steps` are those of all.
    losses : list of float
        Of the batches of the present epoch. After the last one the epoch has still to end.
    rng_state : dict or None
        State of the bit generator at the start of the present epoch.
    """

    def __init__(self):
        self.history, self.losses, self.rng_state = History(), [], None

    @property
    def epoch(self):
        """Number of epochs that have ended."""
        return len(self.history.loss)

    @property
    def batch(self):
        """Number of batches of the present epoch that are done."""
        return len(self.losses)

    @property
    def stopped(self):
        """Whether early stopping has ended training, at the end of an epoch."""
        return self.history.stopped and not self.losses

    def restore(self, rng):
        """Take up the generator's state, or set it to the one that was saved."""
        if rng is not None and self.rng_state is not None:
            rng.bit_generator.state = self.rng_state
        self._note(rng)

    def end_epoch(self, lr, rng):
        """From the last batch of an epoch to the start of the next."""
        self.history.loss.append(sum(self.losses) / len(self.losses))
        self.history.lr.append(lr)
        self.losses = []
        self._note(rng)

    def _note(self, rng):
        self.rng_state = None if rng is None else rng.bit_generator.state

    def state_dict(self):
        """A copy of all that makes up the position, as dicts, lists, numbers, and one array."""
        losses = np.array(self.losses, float)  # of an epoch with very many batches
        return copy.deepcopy(vars(self) | {"history": asdict(self.history), "losses": losses})

    def load_state_dict(self, state):
        """Stand where the position stood whose `state_dict` this is."""
        state = copy.deepcopy(state)
        history, losses = History(**state["history"]), [float(loss) for loss in state["losses"]]
        vars(self).update(state | {"history": history, "losses": losses})
