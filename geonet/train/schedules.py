"""What changes the learning rate, and what ends training."""

import math


def _check_patience(patience):
    if patience < 1:
        raise ValueError(f"patience must be at least 1, but is {patience}")


class _Best:
    """Keeps the best value seen of a quantity, and counts the steps since."""

    def __init__(self, mode, min_delta):
        if mode not in ("min", "max"):
            raise ValueError(f"mode must be 'min' or 'max', but is {mode!r}")
        self.sign = 1 if mode == "min" else -1
        self.min_delta = min_delta
        self.value = math.inf  # of sign · quantity
        self.waited = 0

    def improved_by(self, value):
        """Whether this value beats the best by more than min_delta, which makes it the best."""
        if self.sign * value < self.value - self.min_delta:
            self.value = self.sign * value
            self.waited = 0
            return True
        self.waited += 1
        return False


class ReduceLROnPlateau:
    """Multiply the learning rate by a factor after `patience` steps without improvement.

    Parameters
    ----------
    optimizer : Optimizer
        Its `lr` is changed.
    patience : int
        The rate falls at the patience-th step in a row that brought no improvement, and the count
        starts anew.
    factor : float
        In (0, 1).
    mode : {"min", "max"}
        Whether a smaller or a larger quantity is better.
    min_delta : float
        An improvement is a change by more than this, in absolute terms.
    """

    def __init__(self, optimizer, patience, factor=0.1, mode="min", min_delta=1e-4):
        _check_patience(patience)
        if not 0 < factor < 1:
            raise ValueError(f"factor must be between 0 and 1, but is {factor}")
        self.optimizer, self.patience, self.factor = optimizer, patience, factor
        self._best = _Best(mode, min_delta)

    def step(self, value):
        """Look at the quantity of this step."""
        if not self._best.improved_by(value) and self._best.waited >= self.patience:
            self.optimizer.lr *= self.factor
            self._best.waited = 0


class EarlyStopping:
    """End training after `patience` steps without improvement, and restore the best weights.

    Parameters
    ----------
    module : Module
        Its state is kept at each improvement, and can be restored.
    patience : int
    mode : {"min", "max"}
    min_delta : float
        An improvement is a change by more than this, in absolute terms.
    """

    def __init__(self, module, patience, mode="min", min_delta=0.0):
        _check_patience(patience)
        self.module, self.patience = module, patience
        self.best_state = None
        self._best = _Best(mode, min_delta)

    def step(self, value):
        """Look at the quantity that the present weights give; True when it is time to stop."""
        if self._best.improved_by(value):
            self.best_state = self.module.state_dict()
        return self._best.waited >= self.patience

    def restore(self):
        """Put the best weights back."""
        if self.best_state is not None:
            self.module.load_state_dict(self.best_state)


class StepSchedule:
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
        self.optimizer, self.period, self.factor = optimizer, period, factor
        self._initial, self._steps = optimizer.lr, 0

    def step(self, value=None):
        """Count one step."""
        self._steps += 1
        self.optimizer.lr = self._initial * self.factor ** (self._steps // self.period)


class CosineSchedule:
    """Lower the learning rate along half a cosine, from its initial value to `final`.

    lr = final + (initial − final) (1 + cos(π t/T)) / 2 (Loshchilov & Hutter 2017, eq. 5), and
    `final` after step T.

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
        self.optimizer, self.steps, self.final = optimizer, steps, final
        self._initial, self._steps = optimizer.lr, 0

    def step(self, value=None):
        """Count one step."""
        self._steps = min(self._steps + 1, self.steps)
        share = (1 + math.cos(math.pi * self._steps / self.steps)) / 2
        self.optimizer.lr = self.final + (self._initial - self.final) * share
