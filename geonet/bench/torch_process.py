"""PyTorch in a process of its own, in the environment that its users have.

geonet's command line makes the C library keep freed memory, which would help PyTorch as well. The
comparison is with PyTorch as its users run it.
"""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import PackageNotFoundError, version

from geonet import environment
from geonet.bench.timing import seconds_a_call

_functions = []  # made and called in the process of PyTorch


class Peer:
    """A process that runs PyTorch, as a context manager.

    Parameters
    ----------
    threads : int
        Of PyTorch.
    """

    def __init__(self, threads):
        self.threads = threads
        self._process = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))

    def __enter__(self):
        ours = dict(os.environ)
        theirs = environment.without_ours()
        try:
            os.environ.clear()
            os.environ.update(theirs)
            self._process.submit(os.getpid).result()  # the first task starts the process
        finally:
            os.environ.update(ours)
        return self

    def __exit__(self, *error):
        self._process.shutdown()

    def function(self, make, *arguments, threads=None):
        """The function that `make(torch, *arguments)` returns, to be timed in that process.

        Parameters
        ----------
        make : function
            At the top level of a module.
        threads : int, optional
            For this function, if not the number of the process.

        Returns
        -------
        function
            Takes a number of calls, and returns the seconds per call.
        """
        place = self._process.submit(_make, make, arguments).result()

        def seconds(repeats):
            task = self._process.submit(_seconds, place, threads or self.threads, repeats)
            return task.result()

        return seconds


def torch_version():
    """The version of PyTorch, or None if it is not installed."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return None


def _make(make, arguments):
    import torch

    _functions.append(make(torch, *arguments))
    return len(_functions) - 1


def _seconds(place, threads, repeats):
    import torch

    torch.set_num_threads(threads)
    return seconds_a_call(_functions[place], repeats)
