"""PyTorch's side: a process of its own, and what several of the comparisons do in it.

geonet's command line makes the C library keep freed memory, which would help PyTorch as well. The
comparison is with PyTorch as its users run it, so it gets a process in which nothing is set.
"""

import functools
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import PackageNotFoundError, version

from geonet import threads
from geonet.bench.timing import seconds_a_call

LAYOUTS = "channels_last", "contiguous_format"  # PyTorch's names for them

_functions = []  # made and called in the process of PyTorch


def installed():
    """The version of PyTorch, or None if it is not installed."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return None


def process():
    """A new process, as an executor with one worker."""
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def functions(peer, make, cases, count=None):
    """Functions of PyTorch, to be timed in its process.

    Parameters
    ----------
    peer : concurrent.futures.Executor or None
        The process with PyTorch, if it is installed.
    make : function
        At the top level of a module; `make(torch, *arguments)` returns the function to be timed.
    cases : dict of str to tuple
        Arguments by the name of the function.
    count : int, optional
        Threads of PyTorch, as many as geonet's if not given.

    Returns
    -------
    dict of str to function
        Each takes a number of calls and returns the seconds per call. Empty without PyTorch.
    """
    if peer is None:
        return {}
    count = count or threads.count()
    places = {name: peer.submit(_keep, make, case).result() for name, case in cases.items()}
    return {name: functools.partial(_ask, peer, place, count) for name, place in places.items()}


def _keep(make, arguments):
    import torch

    _functions.append(make(torch, *arguments))
    return len(_functions) - 1


def _ask(peer, place, count, repeats):
    return peer.submit(_seconds, place, count, repeats).result()


def _seconds(place, count, repeats):
    import torch

    torch.set_num_threads(count)
    return seconds_a_call(_functions[place], repeats)


def directions(torch, theta, one, axis=1):
    """u(θ) by roll and cumprod, as in the authors' code.

    Parameters
    ----------
    torch : module
    theta : torch.Tensor
        The angles; those of a unit lie along the axis.
    one : torch.Tensor
        As many ones as there are units, with length 1 along the axis.
    axis : {0, 1}
    """
    cosines = torch.roll(torch.cat([one, torch.cos(theta)], dim=axis), -1, dims=axis)
    sines = torch.cumprod(torch.cat([one, torch.sin(theta)], dim=axis), dim=axis)
    return sines * cosines


def channels_first(torch, x, layout):
    """A tensor (N, H, W, C) as (N, C, H, W), in one of the `LAYOUTS` in memory."""
    return x.permute(0, 3, 1, 2).contiguous(memory_format=getattr(torch, layout))
