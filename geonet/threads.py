"""Python threads that run kernels side by side, and scratch memory that each of them keeps.

NumPy and compiled kernels release the interpreter's lock, so Python's threads are enough. Each
should have one BLAS thread (OPENBLAS_NUM_THREADS=1 and the like, which `python -m geonet --threads`
sets), or they would contend for the same cores.
"""

import contextvars
import functools
import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np

LARGEST_SCRATCH = 2**24  # bytes that are kept; what is larger is worth its fresh pages

ONE_THREAD = 2**26  # multiplications that are done before a second thread would be at work

_memory = threading.local()


def count():
    """Number of threads that kernels use: the environment variable GEONET_THREADS, or 1."""
    text = os.environ.get("GEONET_THREADS", "1")
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"GEONET_THREADS must be a whole number above 0, but is {text!r}")
    return int(text)


@functools.cache
def _pool(workers):
    return ThreadPoolExecutor(workers, thread_name_prefix="geonet")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not come along


def parallel_for(function, parts, multiplications=math.inf):
    """Call `function(*part)` for every part, on `count()` threads.

    Thread k of n takes the parts k, k + n, k + 2n, …, in this order, whatever time they take.

    Parameters
    ----------
    function : function
        Writes its results into arrays given to it, each part into a place of its own.
    parts : sequence of tuple
    multiplications : int
        In all parts, about. Where these are few, this thread takes all parts.
    """
    threads = min(count(), len(parts)) if multiplications > ONE_THREAD else 1

    def run(thread):
        for part in parts[thread::threads]:
            function(*part)

    others = []
    for thread in range(1, threads):
        context = contextvars.copy_context()  # np.errstate is part of it
        others.append(_pool(count() - 1).submit(context.run, run, thread))
    try:
        if parts:
            run(0)
    finally:
        wait(others)  # before an error goes on, for they write into the caller's arrays
    for other in others:
        other.result()


def ranges(length, size):
    """(first, last) of stretches of `size` that cover 0…length; the last may be shorter."""
    return [(first, min(first + size, length)) for first in range(0, length, size)]


def shares(length):
    """(first, last) of one stretch a thread, of nearly equal size."""
    return ranges(length, max(1, math.ceil(length / count())))


def scratch(name, shape, dtype):
    """An array of this thread for passing use, its contents undefined: the same memory each time.

    Two arrays that are in use at the same time need two names. Nothing that outlives the kernel
    may share its memory.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > LARGEST_SCRATCH:
        return np.empty(shape, dtype)
    kept = _memory.__dict__.get(name)
    if kept is None or kept.size < size:
        kept = _memory.__dict__[name] = np.empty(size, np.uint8)
    return kept[:size].view(dtype).reshape(shape)
