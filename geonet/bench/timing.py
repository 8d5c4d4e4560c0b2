"""How the timings are taken and written, and the step that networks are timed by."""

import functools
import time

import numpy as np

from geonet import ops
from geonet.train import SGD

PAUSE = 0.02  # seconds before each turn: OpenMP's threads keep a core busy for a while when done
WARMING = 0.05  # seconds that a function runs, at least, before it is timed


def seconds_a_call(function, repeats):
    """Seconds that one of so many calls takes, after some that are not counted: a processor that
    has waited for others takes a while to wake, and a short function would pay most for that."""
    warm = time.perf_counter() + WARMING
    function()
    while time.perf_counter() < warm:
        function()
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - start) / repeats


def in_turns(ours, theirs, turns, repeats):
    """Time functions against each other, A B A B …

    Parameters
    ----------
    ours : dict of str to function
    theirs : dict of str to function
        From a number of calls to the seconds that one takes, as `peer.Peer.function` makes them.
    turns : int
    repeats : int
        Calls a turn.

    Returns
    -------
    dict of str to numpy.ndarray
        Seconds a call, (turns,).
    """
    timers = {name: functools.partial(seconds_a_call, f) for name, f in ours.items()} | theirs
    seconds = {name: [] for name in timers}
    for _ in range(turns):
        for name, timer in timers.items():
            time.sleep(PAUSE)
            seconds[name].append(timer(repeats))
    return {name: np.array(values) for name, values in seconds.items()}


def milliseconds(seconds):
    """The median in words."""
    return f"{np.median(seconds) * 1e3:.3g} ms"


def ratio(theirs, ours):
    """The median of the ratios of turns, in words."""
    return f"{np.median(theirs / ours):.2f}"


def fastest(seconds, prefix):
    """The seconds of the fastest of the functions whose names begin so, or None."""
    found = [values for name, values in seconds.items() if name.startswith(prefix)]
    return min(found, key=np.median, default=None)


def columns(ours, theirs):
    """Our median, theirs and the ratio, in words; the last two empty where theirs is None."""
    if theirs is None:
        return milliseconds(ours), "", ""
    return milliseconds(ours), milliseconds(theirs), ratio(theirs, ours)


def training_step(model, x, labels):
    """Forward, backward and SGD of a classifier as one function without arguments."""
    optimizer = SGD(model.parameters(), 1e-3, momentum=0.9)

    def step():
        optimizer.zero_grad()
        ops.cross_entropy(model(x), labels).backward()
        optimizer.step()

    return step
