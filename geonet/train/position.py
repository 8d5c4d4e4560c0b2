"""The progress of a training, and its record."""

from dataclasses import asdict, dataclass, field

import numpy as np

from geonet.nn.module import matching


@dataclass
class History:
    """What `fit` recorded: lists with one entry per epoch."""

    loss: list = field(default_factory=list)  # mean training loss of the steps, before each update
    monitored: list = field(default_factory=list)  # the quantity that steered
    lr: list = field(default_factory=list)  # the learning rate at the end of the epoch
    steps: int = 0  # updates made
    stopped: bool = False  # whether early stopping ended it


class Position:
    """Where a training is in its epochs, so that it can be saved there and continued.

    `fit` advances the position that it is given. `on_step` or `on_epoch` can save it, together with
    the states of model, optimizer, schedule and stopping rule. Loaded into new objects of the same
    kind, these states let `fit` continue exactly, to the last bit.

    Attributes
    ----------
    history : History
        Of the epochs that have ended; its `steps` include the present epoch.
    losses : list of float
        Of the batches of the present epoch. After the last batch, the epoch has yet to end.
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
        """Set the generator to the saved state if there is one, and record its state."""
        if rng is not None and self.rng_state is not None:
            rng.bit_generator.state = self.rng_state
        self._note(rng)

    def end_epoch(self, lr, rng):
        """Go from the last batch of an epoch to the start of the next."""
        self.history.loss.append(sum(self.losses) / len(self.losses))
        self.history.lr.append(lr)
        self.losses = []
        self._note(rng)

    def _note(self, rng):
        self.rng_state = None if rng is None else rng.bit_generator.state

    def state_dict(self):
        """A copy of the position, as dicts, lists, numbers, and one array."""
        losses = np.array(self.losses, float)  # an array, because there may be very many batches
        return {"history": asdict(self.history), "losses": losses, "rng_state": self.rng_state}

    def load_state_dict(self, state):
        """Become a copy of the position with this `state_dict`."""
        history = {"loss": list, "monitored": list, "lr": list, "steps": 0, "stopped": False}
        state = matching(state, {"history": history, "losses": list, "rng_state": None})
        self.history, self.losses = History(**state["history"]), state["losses"]
        self.rng_state = state["rng_state"]
