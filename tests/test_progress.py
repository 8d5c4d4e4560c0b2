"""The line on the terminal that says how far training has come."""

import io
import sys

import numpy as np
import pytest

from geonet import nn, ops
from geonet.train import SGD, Diverged, Progress, fit


def train(loss=ops.mse, **options):
    model, x = nn.Linear(1, 1, rng=np.random.default_rng(0)), np.ones((4, 1))
    return fit(model, loss, (x, x), SGD(model.parameters(), 0.1), epochs=6, **options)


class Stream(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.isatty = lambda: terminal


@pytest.fixture
def clock(monkeypatch):
    """A list whose only entry is the time that `geonet.train.progress` sees, in seconds."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_without_a_terminal_nothing_is_written(monkeypatch):
    stream = Stream(False)
    monkeypatch.setattr(sys, "stderr", stream)
    train()
    assert stream.getvalue() == ""


def test_without_standard_error_nothing_is_written_and_training_goes_on(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    train(label="training")


def test_without_a_label_nothing_is_written(monkeypatch):
    stream = Stream(True)
    monkeypatch.setattr(sys, "stderr", stream)
    train(label=None)
    assert stream.getvalue() == ""


def test_a_terminal_sees_the_share_done_the_time_left_the_loss_and_the_speed(monkeypatch):
    stream = Stream(True)
    monkeypatch.setattr(sys, "stderr", stream)
    history = train(label="SP, seed 0")
    lines = stream.getvalue().split("\r\x1b[K")
    assert lines[1] == "SP, seed 0: first step (kernels may have to be compiled)"
    assert lines[2].startswith("SP, seed 0 1/6, ")
    assert lines[-2].startswith(f"SP, seed 0 6/6, 0 s left loss {history.loss[-1]:.4g}, ")
    assert lines[-2].endswith(" rows/s")
    assert lines[-1] == ""  # the line is taken away


def test_the_line_is_taken_away_when_training_raises(monkeypatch):
    stream = Stream(True)
    monkeypatch.setattr(sys, "stderr", stream)
    factors = iter([1.0, 1.0, np.nan])
    with pytest.raises(Diverged, match="after 2 steps"):
        train(lambda prediction, target: ops.mse(prediction, target) * next(factors))
    assert " 1/6, " in stream.getvalue()
    assert stream.getvalue().endswith("\r\x1b[K")


def test_the_time_left_is_that_of_the_pieces_to_come_at_the_rate_so_far(clock):
    stream = Stream(True)
    progress = Progress(10, "work", stream)
    for _ in range(4):
        clock[0] += 50
        progress.update("noted")
    assert stream.getvalue().split("\r\x1b[K")[-1] == "work 4/10, 5 min 0 s left noted"


def test_work_done_before_counts_as_done_but_not_as_speed(clock):
    stream = Stream(True)
    progress = Progress(10, "work", stream, done=6)
    clock[0] += 50
    progress.update()
    assert stream.getvalue().split("\r\x1b[K")[-1] == "work 7/10, 2 min 30 s left "


def test_the_line_is_drawn_at_most_ten_times_a_second_and_at_the_end(clock):
    stream = Stream(True)
    progress = Progress(1000, "work", stream)
    for _ in range(1000):
        clock[0] += 0.001
        progress.update()
    assert 9 <= stream.getvalue().count("work") <= 12
    assert " 1000/1000, 0 s left" in stream.getvalue()


def test_the_line_is_at_most_a_hundred_characters_wide():
    stream = Stream(True)
    Progress(2, "a long label " * 20, stream).update()
    assert len(stream.getvalue()) == len("\r\x1b[K") + 100
