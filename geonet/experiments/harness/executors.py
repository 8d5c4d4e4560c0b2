"""Where the runs of a sweep are done: anything with the interface of concurrent.futures.Executor.

By default that is one process a core on this machine, each with one BLAS thread; by name a cluster
of Dask or the processes of an MPI; from Python any other one. Runs are independent and draw from
generators of their own seeds, so their numbers do not depend on where or when they are done.
"""

import argparse
import contextlib
import importlib.util
import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait

from geonet import environment

MAX_PENDING = 1000  # tasks that wait in an executor: enough for many workers, and little memory
MPI_COMMAND = "mpiexec -n 3 python -m mpi4py.futures -m geonet …"


def add_arguments(parser, workers):
    """Declare --workers and --executor.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    workers : int or None
        How many there are by default; None for as many as cores have threads for.
    """
    known = "cores / --threads" if workers is None else workers
    words = f"processes that runs are spread over; 1 is this one (default: {known})"
    parser.add_argument("--workers", type=_workers, help=words)
    words = "other place for runs: dask (a cluster on this machine), dask:ADDRESS of a scheduler, "
    parser.add_argument("--executor", type=_name, help=f"{words}or mpi, under {MPI_COMMAND}")


def _workers(text):
    if not text.isdecimal() or not 1 <= int(text[:5]) <= 9999:
        raise argparse.ArgumentTypeError(f"must be a number from 1 to 9999, but is {text!r:.20}")
    return int(text)


def _name(text):
    """Kind and address of an executor by name, which can be had."""
    kind, _, address = text.partition(":")
    if text != "mpi" and kind != "dask":
        raise argparse.ArgumentTypeError(f"must be dask, dask:ADDRESS or mpi, but is {text!r}")
    if kind == "dask" and importlib.util.find_spec("distributed") is None:
        raise argparse.ArgumentTypeError(
            'dask needs the package distributed: python -m pip install "dask[distributed]"'
        )
    if kind == "mpi" and "mpi4py.MPI" not in sys.modules:
        raise argparse.ArgumentTypeError(
            f"mpi needs the package mpi4py and a command that begins with {MPI_COMMAND}"
        )
    return kind, address


@contextlib.contextmanager
def open_executor(name, workers):
    """An executor, for use in a `with`.

    Parameters
    ----------
    name : (str, str) or None
        Kind and address; None for processes on this machine.
    workers : int or None
        None leaves their number to Dask; MPI has as many as were started.

    Yields
    ------
    concurrent.futures.Executor
    """
    if name is None:
        with InThisProcess() if workers == 1 else process_pool(workers) as executor:
            yield executor
    elif name[0] == "dask":
        from dask.distributed import Client

        local = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
        with Client(name[1]) if name[1] else Client(**local) as client:
            yield client.get_executor(pure=False)  # a run is done as often as it is asked for
    else:
        from mpi4py.futures import MPIPoolExecutor

        with MPIPoolExecutor() as executor:
            yield executor


class InThisProcess(Executor):
    """Does each task while it is submitted."""

    def submit(self, function, /, *arguments, **options):
        """A future that is done, unless the user interrupts."""
        future = Future()
        try:
            future.set_result(function(*arguments, **options))
        except Exception as error:
            future.set_exception(error)
        return future


@contextlib.contextmanager
def process_pool(workers):
    """A pool of processes in the environment that kernels want, which end with this one.

    Parameters
    ----------
    workers : int

    Yields
    ------
    concurrent.futures.ProcessPoolExecutor
    """
    others, before = multiprocessing.active_children(), dict(os.environ)
    context = multiprocessing.get_context("spawn")  # so that NumPy loads in that environment
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker)
    os.environ.update(environment.wanted(before.get("GEONET_THREADS", 1), unset=()))
    try:
        yield pool
    except BaseException:  # not to wait for runs that nobody will ask for
        for child in set(multiprocessing.active_children()).difference(others):
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        os.environ.clear()
        os.environ.update(before)


def _start_worker():
    """Leave an interruption to the parent, and end when it does: a kill leaves no orphans."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


def completed(executor, function, tasks):
    """Submit tasks and yield them as they end, no more than `MAX_PENDING` of them waiting.

    Parameters
    ----------
    executor : concurrent.futures.Executor
    function : function
        Of a module, or method of such an object, so that it can be sent by name.
    tasks : iterable
        What it takes, one by one.

    Yields
    ------
    task
    future : concurrent.futures.Future
        That has ended.
    """
    pending = {}
    try:
        for task in tasks:
            future = executor.submit(function, task)
            if future.done():
                yield task, future
            else:
                pending[future] = task
            if len(pending) == MAX_PENDING:
                yield from _wait_for_some(pending)
        while pending:
            yield from _wait_for_some(pending)
    finally:
        for future in pending:
            future.cancel()


def _wait_for_some(pending):
    """Wait for some future of {future: task}, and take out those that have ended.

    Results come before errors, since an error may end the sweep.
    """
    ended = wait(pending, return_when=FIRST_COMPLETED).done
    for future in sorted(ended, key=lambda future: future.exception() is not None):
        yield pending.pop(future), future
