"""How functions are timed, how times are printed, and the training step of a classifier."""

import functools
import time

import numpy as np

from geonet import ops
from geonet.train import SGD

PAUSE = 0.02  # seconds before each turn: OpenMP's threads keep a core busy for a while afterwards
WARMING = 0.05  # seconds: a function runs at least this long before it is timed


def seconds_a_call(function, repeats):
    """Seconds per call, after some calls that are not counted.

    An idle processor takes a while to reach full speed, which would count most for short functions.
    """
    warm = time.perf_counter() + WARMING
    function()
    while time.perf_counter() < warm:
        function()
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - start) / repeats


def in_turns(ours, theirs, turns, repeats):
    """Time functions in turns: A B A B …

    Parameters
    ----------
    ours : dict of str to function
    theirs : dict of str to function
        Each takes a number of calls and returns the seconds per call, as `Peer.function` does.
    turns : int
    repeats : int
        Calls per turn.

    Returns
    -------
    dict of str to numpy.ndarray
        Seconds per call, (turns,).
    """
    timers = {name: functools.partial(seconds_a_call, f) for name, f in ours.items()} | theirs
    seconds = {name: [] for name in timers}
    for _ in range(turns):
        for name, timer in timers.items():
            time.sleep(PAUSE)
            seconds[name].append(timer(repeats))
    return {name: np.array(values) for name, values in seconds.items()}


def milliseconds(seconds):
    """The median, as text."""
    return f"{np.median(seconds) * 1e3:.3g} ms"


def ratio(theirs, ours):
    """The median of the ratios of the turns, as text."""
    return f"{np.median(theirs / ours):.2f}"


def fastest(seconds, prefix):
    """The seconds of the fastest function whose name has this prefix, or None."""
    found = [values for name, values in seconds.items() if name.startswith(prefix)]
    return min(found, key=np.median, default=None)


def columns(ours, theirs):
    """Our median, theirs and the ratio, as text; the last two are empty if theirs is None."""
    if theirs is None:
        return milliseconds(ours), "", ""
    return milliseconds(ours), milliseconds(theirs), ratio(theirs, ours)


def training_step(model, x, labels):
    """A function without arguments: forward, backward and SGD of a classifier."""
    optimizer = SGD(model.parameters(), 1e-3, momentum=0.9)

    def step():
        optimizer.zero_grad()
        ops.cross_entropy(model(x), labels).backward()
        optimizer.step()

    return step
