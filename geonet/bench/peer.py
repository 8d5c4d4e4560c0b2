"""PyTorch in a process of its own, in the environment that its users have.

geonet's own command line has the C library keep freed memory, which helps PyTorch as well; a
comparison is of each as it comes.
"""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import PackageNotFoundError, version

from geonet import environment
from geonet.bench.timing import seconds_a_call

_functions = []  # those of the process in which they are made


class Peer:
    """A process with PyTorch in it, to be used in a `with`.

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
            self._process.submit(os.getpid).result()  # which starts it
        finally:
            os.environ.update(ours)
        return self

    def __exit__(self, *error):
        self._process.shutdown()

    def function(self, make, *arguments, threads=None):
        """What `make(torch, *arguments)` gives, to be called over there.

        Parameters
        ----------
        make : function
            Of a module.
        threads : int, optional
            Where they differ from the others' number.

        Returns
        -------
        function
            From a number of calls to the seconds that one of them takes.
        """
        place = self._process.submit(_make, make, arguments).result()

        def seconds(repeats):
            task = self._process.submit(_seconds, place, threads or self.threads, repeats)
            return task.result()

        return seconds


def torch_version():
    """The version of PyTorch, or None where it is not installed."""
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
