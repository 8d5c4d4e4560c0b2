"""How functions are timed, and how times are printed."""

import functools
import time

import numpy as np

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
        Each takes a number of calls and returns the seconds per call, as those of
        `pytorch.functions` do.
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


def ratio(these, those):
    """The median of the ratios of the turns."""
    return np.median(these / those)


def columns(ours, theirs):
    """Our median, that of the fastest of theirs, and the ratio, as text.

    Parameters
    ----------
    ours : numpy.ndarray
        Seconds, (turns,).
    theirs : iterable of numpy.ndarray
        If it is empty, so are the last two columns.
    """
    fastest = min(theirs, key=np.median, default=None)
    if fastest is None:
        return milliseconds(ours), "", ""
    return milliseconds(ours), milliseconds(fastest), f"{ratio(fastest, ours):.2f}"
