"""Schedules that change the learning rate, and early stopping."""

import math


def _check_patience(patience):
    if patience < 1:
        raise ValueError(f"patience must be at least 1, but is {patience}")


class _Best:
    """Keeps the best value of a quantity, and counts the steps since."""

    def __init__(self, mode, min_delta):
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be 'min' or 'max', but is {mode!r}")
        self.sign = 1 if mode == "min" else -1
        self.min_delta = min_delta
        self.value = math.inf  # of sign · quantity
        self.waited = 0

    def improved_by(self, value):
        """Whether this value beats the best by more than min_delta; if so, it becomes the best."""
        if self.sign * value < self.value - self.min_delta:
            self.value = self.sign * value
            self.waited = 0
            return True
        self.waited += 1
        return False

    def state_dict(self):
        return {"best": self.value, "waited": self.waited}

    def load_state_dict(self, state):
        self.value, self.waited = state["best"], state["waited"]


class _Counting:
    """A schedule that depends only on the number of its steps."""

    def __init__(self, optimizer):
        self.optimizer, self._initial, self._steps = optimizer, optimizer.lr, 0

    def state_dict(self):
        """The initial rate, and the number of steps so far."""
        return {"initial": self._initial, "steps": self._steps}

    def load_state_dict(self, state):
        """Continue from a state; the present rate is in the optimizer's state."""
        self._initial, self._steps = state["initial"], state["steps"]


class ReduceLROnPlateau:
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
        _check_patience(patience)
        if not 0 < factor < 1:
            raise ValueError(f"factor must be between 0 and 1, but is {factor}")
        self.optimizer, self.patience, self.factor = optimizer, patience, factor
        self._best = _Best(mode, min_delta)

    def step(self, value):
        """Take the quantity of this step into account."""
        if not self._best.improved_by(value) and self._best.waited >= self.patience:
            self.optimizer.lr *= self.factor
            self._best.waited = 0

    def state_dict(self):
        """The best value, and the steps since."""
        return self._best.state_dict()

    def load_state_dict(self, state):
        """Continue from a state; the present rate is in the optimizer's state."""
        self._best.load_state_dict(state)


class EarlyStopping:
    """End training after `patience` steps without improvement, and restore the best weights.

    Parameters
    ----------
    module : Module
        Its state is kept at each improvement, and can be restored.
    patience : int
    mode : {"min", "max"}
    min_delta : float
        Only a change by more than this (absolute) counts as an improvement.
    """

    def __init__(self, module, patience, mode="min", min_delta=0.0):
        _check_patience(patience)
        self.module, self.patience = module, patience
        self.best_state = None
        self._best = _Best(mode, min_delta)

    def step(self, value):
        """Take the quantity of the present weights into account; True when training should stop."""
        if self._best.improved_by(value):
            self.best_state = self.module.state_dict()
        return self._best.waited >= self.patience

    def restore(self):
        """Restore the best weights."""
        if self.best_state is not None:
            self.module.load_state_dict(self.best_state)

    def state_dict(self):
        """The best value, the steps since, and the best weights (or None)."""
        return self._best.state_dict() | {"weights": self.best_state}

    def load_state_dict(self, state):
        """Continue from a state."""
        self._best.load_state_dict(state)
        self.best_state = state["weights"]


class StepSchedule(_Counting):
    """Multiply the learning rate by a factor every `period` steps.

    Parameters
    ----------
    optimizer : Optimizer
    period : int
    factor : float
    """

    def __init__(self, optimizer, period, factor=0.1):
        if period < 1:
            raise ValueError(f"period must be at least 1, but is {period}")
        super().__init__(optimizer)
        self.period, self.factor = period, factor

    def step(self, value=None):
        """Count one step."""
        self._steps += 1
        self.optimizer.lr = self._initial * self.factor ** (self._steps // self.period)


class CosineSchedule(_Counting):
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
        if steps < 1:
            raise ValueError(f"steps must be at least 1, but is {steps}")
        super().__init__(optimizer)
        self.steps, self.final = steps, final

    def step(self, value=None):
        """Count one step."""
        self._steps = min(self._steps + 1, self.steps)
        share = (1 + math.cos(math.pi * self._steps / self.steps)) / 2
        self.optimizer.lr = self.final + (self._initial - self.final) * share


class WarmUp(_Counting):
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
        if steps < 1:
            raise ValueError(f"steps must be at least 1, but is {steps}")
        super().__init__(schedule.optimizer)
        self.schedule, self.steps = schedule, steps
        self.optimizer.lr = self._initial * (1 / steps)

    def step(self, value):
        """Count one step; after the warm-up, pass the quantity to the other schedule."""
        self._steps += 1
        if self._steps > self.steps:
            self.schedule.step(value)
        else:
            self.optimizer.lr = self._initial * (min(self._steps + 1, self.steps) / self.steps)

    def state_dict(self):
        """The initial rate, the steps so far, and the state of the other schedule."""
        return super().state_dict() | {"schedule": self.schedule.state_dict()}

    def load_state_dict(self, state):
        """Continue from a state; the present rate is in the optimizer's state."""
        super().load_state_dict(state)
        self.schedule.load_state_dict(state["schedule"])
