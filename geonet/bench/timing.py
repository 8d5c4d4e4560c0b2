"""How the timings are taken and written."""

import time

import numpy as np

PAUSE = 0.02  # seconds before each turn: OpenMP's threads keep a core busy for a while when done


def in_turns(functions, turns, repeats):
    """Time functions against each other, A B A B …

    Parameters
    ----------
    functions : dict of str to function
    turns : int
    repeats : int
        Calls a turn.

    Returns
    -------
    dict of str to numpy.ndarray
        Seconds a call, (turns,), after one turn to warm up.
    """
    seconds = {name: [] for name in functions}
    for turn in range(turns + 1):
        for name, function in functions.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            for _ in range(repeats):
                function()
            if turn:
                seconds[name].append((time.perf_counter() - start) / repeats)
    return {name: np.array(values) for name, values in seconds.items()}


def milliseconds(seconds):
    """The median in words."""
    return f"{np.median(seconds) * 1e3:.3g} ms"


def ratio(theirs, ours):
    """The median of the ratios of turns, in words."""
    return f"{np.median(theirs / ours):.2f}"
