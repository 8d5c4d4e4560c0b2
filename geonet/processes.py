"""Processes that work for this one: they leave interruptions to it, and end when it ends."""

import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType

from geonet import threads


class ProcessPool(ProcessPoolExecutor):
    """A pool whose processes leave interruptions to this one, from their first moment on."""

    def submit(self, function, /, *arguments, **options):
        """Start a process if none is idle; it inherits that interruptions are blocked."""
        if not hasattr(signal, "pthread_sigmask"):  # as on Windows
            return super().submit(function, *arguments, **options)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(function, *arguments, **options)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_worker():
    """Leave interruptions to the parent, and end when it ends, so that a kill leaves no orphans.

    This process is geonet's own, so it keeps its memory for reuse.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for Windows, where they cannot be blocked
    threading.Thread(target=_end_with_parent, daemon=True).start()
    threads.keep_memory()


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


def helpers(count):
    """A pool of processes that does not import the main program.

    A program that uses it need not protect itself by `if __name__ == "__main__"`, and functions
    that are submitted must be defined in a module. The processes start when they are needed.

    Parameters
    ----------
    count : int

    Returns
    -------
    ProcessPool
    """
    return ProcessPool(count, _Context(), initializer=start_worker)


class _Process(SpawnProcess):
    _lock = threading.Lock()

    def start(self):
        with self._lock:
            main = sys.modules["__main__"]
            sys.modules["__main__"] = ModuleType("__main__")  # has no file that could be imported
            try:
                super().start()
            finally:
                sys.modules["__main__"] = main


class _Context(SpawnContext):
    Process = _Process
