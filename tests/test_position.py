"""A training that is saved at any moment and continued ends as one that never stopped."""

import numpy as np
import pytest

from geonet import ops
from geonet.models import mlp
from geonet.train import (
    SGD,
    Adam,
    Checkpoints,
    CosineSchedule,
    EarlyStopping,
    Position,
    ReduceLROnPlateau,
    WarmUp,
    fit,
)

EPOCHS, ROWS, BATCH = 5, 10, 4


class Killed(BaseException):
    """What a test ends a training by, wherever it stands."""


class Stream:
    """Whole batches of an epoch, every one after its own draw, as a loader of files gives them."""

    train_count = ROWS

    def __init__(self, made):
        self.made = made  # batches that were made, which those left out are not

    def train_batches(self, batch_size, rng, skip=0):
        seeds = rng.integers(2**32, size=self.train_count // batch_size)
        return (self._batch(seed, batch_size) for seed in seeds[skip:])

    def _batch(self, seed, batch_size):
        self.made.append(seed)
        x = np.random.default_rng(seed).normal(size=(batch_size, 3))
        return x, np.sin(x.sum(1, keepdims=True))


class Training:
    """All that a run is made of, from a seed that is not the same before and after a kill."""

    def __init__(self, kind, folder, seed=0):
        rng = np.random.default_rng(seed)
        self.rng, self.made = np.random.default_rng(seed + 1), []
        self.model = mlp([3, 4, 1], kind["method"], rng=rng)
        self.optimizer = kind["optimizer"](self.model.parameters())
        self.position, self.options = Position(), kind["options"](self)
        self.data, self.batch_size = kind["data"](self), kind["batch_size"]
        self.checkpoints, self.saves = Checkpoints(folder), 0
        steered = {"schedule": self.options.get("schedule")}
        steered["stopping"] = self.options.get("stopping")
        self.parts = {"model": self.model, "optimizer": self.optimizer, "position": self.position}
        self.parts |= {name: part for name, part in steered.items() if part is not None}

    def run(self, killed_after=None):
        """Train; after that many saves the process is gone."""

        def save():
            state = {name: part.state_dict() for name, part in self.parts.items()}
            self.checkpoints.save(state, self.position.history.steps)
            self.saves += 1
            if self.saves == killed_after:
                raise Killed

        return fit(
            self.model, ops.mse, self.data, self.optimizer, epochs=EPOCHS, rng=self.rng,
            batch_size=self.batch_size, position=self.position, on_step=save, on_epoch=save,
            label=None, **self.options,
        )  # fmt: skip

    def resume(self):
        state, step = self.checkpoints.load()
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        assert step == self.position.history.steps


def table(training):
    x = np.random.default_rng(1).uniform(-2, 2, (ROWS, 3))
    return x, np.sin(x.sum(1, keepdims=True))


def noisy(training):
    """A monitor that draws from the generator of the run and goes up and down."""
    return {"monitor": lambda model: training.rng.normal()}


def plateau(training):
    return {"schedule": ReduceLROnPlateau(training.optimizer, patience=1, factor=0.5)}


def cosine(training):
    inner = CosineSchedule(training.optimizer, EPOCHS - 2, 0.01)
    return {"schedule": WarmUp(inner, 2)}


def stopping(training):
    return {"stopping": EarlyStopping(training.model, patience=2)}


KINDS = {
    "full batch": ("GmP", Adam, [plateau], table, None),
    "batches of a table": ("BN", SGD, [cosine], table, BATCH),
    "stream": ("GmP+IMN", SGD, [noisy, plateau], lambda training: Stream(training.made), BATCH),
    "stopped by a monitor": ("WN+MBN", Adam, [noisy, stopping], table, BATCH),
    "stopped by its loss": ("SP", SGD, [stopping, plateau], table, BATCH),
}


def some_kind(name):
    method, optimizer, options, data, batch_size = KINDS[name]
    settings = {"lr": 0.3} | ({"momentum": 0.9} if optimizer is SGD else {})
    return {
        "method": method,
        "optimizer": lambda parameters: optimizer(parameters, **settings),
        "options": lambda training: {k: v for part in options for k, v in part(training).items()},
        "data": data,
        "batch_size": batch_size,
    }


@pytest.mark.parametrize("name", KINDS)
def test_a_training_killed_after_any_step_or_epoch_continues_bit_for_bit(name, tmp_path):
    whole = Training(some_kind(name), tmp_path / "whole")
    history = whole.run()
    assert whole.saves == history.steps + len(history.loss)
    assert history.stopped is name.startswith("stopped")
    for moment in range(1, whole.saves + 1):
        folder = tmp_path / str(moment)
        with pytest.raises(Killed):
            Training(some_kind(name), folder).run(killed_after=moment)
        again = Training(some_kind(name), folder, seed=moment)
        again.resume()
        assert again.run() == history
        for part in ("model", "optimizer"):
            np.testing.assert_equal(again.parts[part].state_dict(), whole.parts[part].state_dict())
        assert again.rng.bit_generator.state == whole.rng.bit_generator.state


def test_batches_that_are_left_out_are_not_made(tmp_path):
    with pytest.raises(Killed):
        Training(some_kind("stream"), tmp_path).run(killed_after=4)  # one step into epoch 2
    again = Training(some_kind("stream"), tmp_path)
    again.resume()
    assert (again.position.epoch, again.position.batch) == (1, 1)
    again.run()
    assert len(again.made) == EPOCHS * (ROWS // BATCH) - 3


def test_a_finished_training_is_not_continued(tmp_path):
    training = Training(some_kind("full batch"), tmp_path)
    history = training.run()
    state = training.model.state_dict()
    assert training.run() is history
    assert history.steps == EPOCHS
    np.testing.assert_equal(training.model.state_dict(), state)


def test_a_saved_position_does_not_change_as_training_continues():
    position = Position()
    position.restore(np.random.default_rng(0))
    position.losses.append(1.0)
    state = position.state_dict()
    position.losses.append(3.0)
    position.end_epoch(0.1, np.random.default_rng(1))
    other = Position()
    other.load_state_dict(state)
    other.losses.append(2.0)
    assert state["losses"] == [1.0]
    assert state["history"]["loss"] == []
    assert (position.history.loss, position.history.lr, position.losses) == ([2.0], [0.1], [])
    assert state["rng_state"] == np.random.default_rng(0).bit_generator.state


def test_a_position_can_be_saved_in_an_epoch_of_a_million_batches(tmp_path):
    position, checkpoints = Position(), Checkpoints(tmp_path)
    position.losses = np.random.default_rng(0).random(10**6).tolist()
    checkpoints.save({"position": position.state_dict()}, 1)
    other = Position()
    other.load_state_dict(checkpoints.load()[0]["position"])
    assert other.losses == position.losses


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.pop("losses"),
        lambda state: state["history"].pop("lr"),
        lambda state: state["history"].update(more=[]),
        lambda state: state["history"].update(loss=["0.5"]),
        lambda state: state["history"].update(steps="3"),
        lambda state: state.update(losses=np.ones(3, complex)),
        lambda state: state.update(losses="text"),
        lambda state: state.update(history=None),
    ],
)
def test_a_position_that_does_not_fit_changes_nothing(change):
    position = Position()
    position.history.loss, position.losses = [2.0], [3.0]
    before, state = position.state_dict(), Position().state_dict()
    state["history"]["loss"] = [1.0, 2.0]
    change(state)
    with pytest.raises(ValueError, match=r"^state"):
        position.load_state_dict(state)
    np.testing.assert_equal(position.state_dict(), before)
