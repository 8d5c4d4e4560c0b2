"""Schedules that change the learning rate, and early stopping."""

import math

from geonet.nn.module import matching
from geonet.text import check_choice, check_counts


class _Patience:
    """What waits for `patience` steps in a row without improvement of a quantity."""

    def __init__(self, patience, mode, min_delta):
        check_counts(1, patience=patience)
        check_choice("mode", mode, ("min", "max"))
        self.patience, self.min_delta = patience, min_delta
        self._sign = 1 if mode == "min" else -1
        self._best, self._waited = math.inf, 0  # the best of sign · quantity, and the steps since

    def _improves(self, value):
        """Whether this value beats the best by more than min_delta; if so, it becomes the best."""
        improves = self._sign * value < self._best - self.min_delta
        if improves:
            self._best = self._sign * value
        self._waited = 0 if improves else self._waited + 1
        return improves

    def state_dict(self):
        """The best value, and the steps since."""
        return {"best": self._best, "waited": self._waited}

    def load_state_dict(self, state):
        """Continue from a state; the present rate is in the optimizer's state."""
        state = matching(state, self.state_dict())
        self._best, self._waited = state["best"], state["waited"]


class _Schedule:
    """A schedule that depends only on the number of its steps; subclasses have `_rate(steps)`."""

    def __init__(self, optimizer):
        self.optimizer, self._initial, self._steps = optimizer, optimizer.lr, 0

    def step(self, value=None):
        """Count one step."""
        self._steps += 1
        self.optimizer.lr = self._rate(self._steps)

    def state_dict(self):
        """The initial rate, and the number of steps so far."""
        return {"initial": self._initial, "steps": self._steps}

    def load_state_dict(self, state):
        """Continue from a state; the present rate is in the optimizer's state."""
        state = matching(state, self.state_dict())
        self._initial, self._steps = state["initial"], state["steps"]


class ReduceLROnPlateau(_Patience):
    """Multiply the learning rate by a factor after `patience` steps without improvement.

    Parameters
    ----------
    optimizer : Optimizer
        Its `lr` is changed.
    patience : int
        The rate falls at the patience-th step in a row without improvement. Then the count starts
        again.
    factor : float
        In (0, 1).
    mode : {"min", "max"}
        Whether a smaller or a larger quantity is better.
    min_delta : float
        Only a change by more than this (absolute) counts as an improvement.
    """

    def __init__(self, optimizer, patience, factor=0.1, mode="min", min_delta=1e-4):
        super().__init__(patience, mode, min_delta)
        if not 0 < factor < 1:
            raise ValueError(f"factor must be between 0 and 1, but is {factor}")
        self.optimizer, self.factor = optimizer, factor

    def step(self, value):
        """Take the quantity of this step into account."""
        if not self._improves(value) and self._waited >= self.patience:
            self.optimizer.lr *= self.factor
            self._waited = 0


class EarlyStopping(_Patience):
    """End training after `patience` steps without improvement; it can restore the best weights.

    Parameters
    ----------
    module : Module
        Its state is kept at each improvement, and can be restored.
    patience : int
    mode : {"min", "max"}
    min_delta : float
        Only a change by more than this (absolute) counts as an improvement.
    restored : {"always", "stopped", "never"}
        When `restore`, which ends a training, restores the best weights: always; only if this rule
        has ended the training, as in Keras 2.8; or never, so that none are kept.
    """

    def __init__(self, module, patience, mode="min", min_delta=0.0, restored="always"):
        super().__init__(patience, mode, min_delta)
        check_choice("restored", restored, ("always", "stopped", "never"))
        self.module, self.restored, self.best_state = module, restored, None

    def step(self, value):
        """Take the quantity of the present weights into account; True when training should stop."""
        if self._improves(value) and self.restored != "never":
            self.best_state = self.module.state_dict()
        return self._waited >= self.patience

    def restore(self):
        """Restore the best weights, if `restored` says so."""
        wanted = self.restored == "always" or self._waited >= self.patience
        if wanted and self.best_state is not None:
            self.module.load_state_dict(self.best_state)

    def state_dict(self):
        """The best value, the steps since, and the best weights (or None)."""
        return super().state_dict() | {"weights": self.best_state}

    def load_state_dict(self, state):
        """Continue from a state."""
        state = matching(state, self.state_dict() | {"weights": None})
        if state["weights"] is not None:
            own = self.module.state_dict()
            state["weights"] = matching(state["weights"], own, "state['weights']")
        self._best, self._waited, self.best_state = state.values()


class StepSchedule(_Schedule):
    """Multiply the learning rate by a factor every `period` steps.

    Parameters
    ----------
    optimizer : Optimizer
    period : int
    factor : float
    """

    def __init__(self, optimizer, period, factor=0.1):
        check_counts(1, period=period)
        super().__init__(optimizer)
        self.period, self.factor = period, factor

    def _rate(self, steps):
        return self._initial * self.factor ** (steps // self.period)


class CosineSchedule(_Schedule):
    """Lower the learning rate along half a cosine, from its initial value to `final`.

    lr = final + (initial − final) (1 + cos(π t/T)) / 2 up to step T (Loshchilov & Hutter 2017,
    eq. 5), and `final` afterwards.

    Parameters
    ----------
    optimizer : Optimizer
    steps : int
        T.
    final : float
    """

    def __init__(self, optimizer, steps, final=0.0):
        check_counts(1, steps=steps)
        super().__init__(optimizer)
        self.steps, self.final = steps, final

    def _rate(self, steps):
        share = (1 + math.cos(math.pi * min(steps, self.steps) / self.steps)) / 2
        return self.final + (self._initial - self.final) * share


class WarmUp(_Schedule):
    """Raise the learning rate in equal parts at first, then follow another schedule.

    If the optimizer's rate is η, the first `steps` epochs have η/steps, 2η/steps, …, η (Goyal et
    al. 2017, section 2.2). Then the other schedule begins, with its own first epoch at η.

    Parameters
    ----------
    schedule : any other schedule
        Made for the optimizer while its rate was η.
    steps : int
        At least 1.
    """

    def __init__(self, schedule, steps):
        check_counts(1, steps=steps)
        super().__init__(schedule.optimizer)
        self.schedule, self.steps = schedule, steps
        self.optimizer.lr = self._rate(0)

    def _rate(self, steps):
        return self._initial * (min(steps + 1, self.steps) / self.steps)

    def step(self, value):
        """Count one step; after the warm-up, pass the quantity to the other schedule."""
        if self._steps < self.steps:
            super().step()
        else:
            self.schedule.step(value)

    def state_dict(self):
        """The initial rate, the steps so far, and the state of the other schedule."""
        return super().state_dict() | {"schedule": self.schedule.state_dict()}

    def load_state_dict(self, state):
        """Continue from a state; the present rate is in the optimizer's state."""
        super().load_state_dict(state)
        self.schedule.load_state_dict(state["schedule"])
