"""Where a sweep's runs are executed: anything with the interface of concurrent.futures.Executor.

By default, that is one process per core, as many as this one may use. A Dask cluster
or MPI processes can be chosen by name, and any other executor from Python. Runs are independent and
draw from generators of their own seeds, so their numbers do not depend on where or when they run.
"""

import argparse
import contextlib
import importlib.util
import multiprocessing
import sys
from concurrent.futures import as_completed
from functools import partial

from geonet.experiments.harness.options import number
from geonet.processes import ProcessPool, start_worker

MPI_COMMAND = "mpiexec -n 3 python -m mpi4py.futures -m geonet …"


def add_arguments(parser, workers):
    """Declare --workers and --executor.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    workers : int or None
        Their default number; None for the number of cores divided by that of threads.
    """
    known = "cores / --threads" if workers is None else workers
    text = f"processes that share the runs; 1 means no further process (default: {known})"
    parser.add_argument("--workers", type=number(int, 1, 10_000), help=text)
    text = "where else to run: dask (a cluster on this machine), dask:ADDRESS of a scheduler, "
    parser.add_argument("--executor", type=_name, help=f"{text}or mpi, under {MPI_COMMAND}")


def _name(text):
    """Kind and address of the executor that a name stands for, if it is available."""
    kind, _, address = text.partition(":")
    if text != "mpi" and kind != "dask":
        raise argparse.ArgumentTypeError(f"must be dask, dask:ADDRESS or mpi, but is {text!r}")
    if kind == "dask" and importlib.util.find_spec("distributed") is None:
        raise argparse.ArgumentTypeError(
            'dask needs the package distributed: python -m pip install "dask[distributed]"'
        )
    if kind == "mpi" and "mpi4py.MPI" not in sys.modules:
        raise argparse.ArgumentTypeError(
            f"mpi needs the package mpi4py, and a command that begins with {MPI_COMMAND}"
        )
    return kind, address


@contextlib.contextmanager
def open_executor(name, workers):
    """Provide an executor, for use in a `with`.

    Parameters
    ----------
    name : (str, str) or None
        Kind and address; None for processes on this machine.
    workers : int or None
        None lets Dask choose their number. MPI has as many as were started.

    Yields
    ------
    concurrent.futures.Executor or None
        None for this process.
    """
    if name is None:
        with contextlib.nullcontext() if workers == 1 else process_pool(workers) as executor:
            yield executor
    elif name[0] == "dask":
        from dask.distributed import Client

        local = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
        with Client(name[1]) if name[1] else Client(**local) as client:
            yield client.get_executor(pure=False)  # repeats a run if it is submitted again
    else:
        from mpi4py.futures import MPIPoolExecutor

        with MPIPoolExecutor() as executor:
            yield executor


@contextlib.contextmanager
def process_pool(workers):
    """A pool of processes that end with this one.

    Parameters
    ----------
    workers : int

    Yields
    ------
    geonet.processes.ProcessPool
    """
    others = multiprocessing.active_children()
    pool = ProcessPool(workers, multiprocessing.get_context("spawn"), initializer=start_worker)
    try:
        yield pool
    except BaseException:  # do not wait for runs whose results nobody will use
        for child in set(multiprocessing.active_children()).difference(others):
            child.terminate()
        pool._result_queue._writer.close()  # or it waits for the rest of a result cut short
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def completed(executor, function, tasks):
    """Submit tasks and yield them as they end.

    Parameters
    ----------
    executor : concurrent.futures.Executor or None
        None calls the function in this process.
    function : function
        Defined in a module, or a method of an object that is, so that it can be pickled by name.
    tasks : iterable
        Its arguments, one per call.

    Yields
    ------
    task
    result : function
        Returns the result, or raises the error that the task ended with.
    """
    if executor is None:
        yield from ((task, partial(function, task)) for task in tasks)
        return
    pending = {executor.submit(function, task): task for task in tasks}
    try:
        for future in as_completed(pending):
            yield pending.pop(future), future.result
    finally:
        # `process_pool` ends its processes. That marks what is pending as failed, in a thread that
        # raises an error if it was cancelled here.
        if not isinstance(executor, ProcessPool):
            for future in pending:
                future.cancel()
