"""The lines on the terminal, or in a log, that say how far work has come."""

import io
import sys
import threading

import numpy as np
import pytest

from geonet import nn, ops
from geonet.train import SGD, Diverged, Progress, fit
from geonet.train.progress import LOG_EVERY


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


def beats(progress, clock, count):
    """What a log says while `count` times nothing ends; the longest silence must be 30 s."""

    def wait(seconds):
        assert seconds <= 30
        clock[0] += seconds
        return next(ended)

    ended = iter([False] * count + [True])
    progress._beat(wait)
    return progress.stream.getvalue().splitlines()


@pytest.fixture
def silent(monkeypatch):
    """Threads that are made and never run, so that a test can beat in their place."""
    monkeypatch.setattr(threading.Thread, "start", lambda self: None)
    monkeypatch.setattr(threading.Thread, "join", lambda self: None)


def test_a_log_is_never_silent_even_while_no_piece_ends(clock, silent):
    progress = Progress(10, "work", Stream(False), log=True)
    assert beats(progress, clock, 2) == ["work 0/10, time left not known"] * 2
    progress.update("(SP)")
    # 80 s have passed: three pauses, and one more
    assert beats(progress, clock, 1)[-1] == "work 1/10, 12 min 0 s left (SP)"
    progress.close()


def test_a_log_tells_of_the_whole_and_of_its_part_in_one_line(clock, silent):
    stream = Stream(False)
    whole = Progress(2, "all", stream, log=True, weights=[100, 300])
    clock[0] += 100
    whole.update()
    part = Progress(4, "part", stream, done=1, log=True)  # 3 left, each a third of 300
    clock[0] += 80
    part.update("(GmP)")
    # 1/2 of the whole in 200 s; of the part, 1 of 3 in 100 s
    assert beats(whole, clock, 1) == ["all 1/2, 3 min 20 s left: part 2/4, 3 min 20 s left (GmP)"]
    part.close()  # which does not take back what it has done
    assert beats(whole, clock, 1)[-1].startswith("all 1/2, 4 min 0 s left: part 2/4")
    whole.update()
    assert beats(whole, clock, 1)[-1] == "all 2/2, 0 s left"
    whole.close()


def test_a_terminal_tells_of_the_whole_and_of_its_part_in_one_line(clock):
    stream = Stream(True)
    whole, part = (Progress(2, name, stream, log=True) for name in ("all", "part"))
    clock[0] += 10
    part.update()
    assert stream.getvalue().endswith("all 0/2, 30 s left: part 1/2, 10 s left ")
    part.close()
    whole.close()


def test_the_log_ends_with_the_work_and_others_write_none():
    before = threading.active_count()
    progress = Progress(1, "work", Stream(False), log=True)
    assert threading.active_count() == before + 1
    progress.close()
    Progress(1, "work", Stream(False)).close()
    Progress(1, "work", Stream(True), log=True).close()
    assert threading.active_count() == before


def test_the_pause_between_lines_of_a_log_is_well_below_half_a_minute():
    assert LOG_EVERY <= 25
