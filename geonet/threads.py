"""Python threads that run kernels in parallel, and scratch memory for each of them.

NumPy and compiled kernels release the interpreter's lock, so Python's threads are enough. Each
should have one BLAS thread (OPENBLAS_NUM_THREADS=1 and the like, which `python -m geonet --threads`
sets). Otherwise they compete for the same cores.
"""

import contextvars
import functools
import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import numpy as np

LARGEST_SCRATCH = 2**24  # bytes; a larger array is allocated afresh

ONE_THREAD = 2**26  # multiplications; for fewer, starting a second thread does not pay

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
    os.register_at_fork(after_in_child=_pool.cache_clear)  # fork does not copy threads


def parallel_for(function, parts, multiplications=math.inf):
    """Call `function(*part)` for every part, on `count()` threads.

    Thread k of n takes the parts k, k + n, k + 2n, …, in this order, however long they take.

    Parameters
    ----------
    function : function
        Writes its results into given arrays, each part to its own place.
    parts : sequence of tuple
    multiplications : int
        Approximate number in all parts. If it is small, the calling thread takes all parts.
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
        wait(others)  # even after an error, since they write into the caller's arrays
    for other in others:
        other.result()


def ranges(length, size):
    """Pairs (first, last) of ranges of `size` that cover 0…length; the last may be shorter."""
    return [(first, min(first + size, length)) for first in range(0, length, size)]


def shares(length):
    """Pairs (first, last) of one range per thread, of nearly equal size."""
    return ranges(length, max(1, math.ceil(length / count())))


def scratch(name, shape, dtype):
    """A temporary array of this thread, with undefined contents: the same memory each time.

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
