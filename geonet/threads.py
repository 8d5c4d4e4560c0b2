"""Threads of kernels and of BLAS, and memory for reuse: all that is set while the program runs.

Kernels run on Python's threads, because NumPy and compiled kernels release the interpreter's lock.
While they do, BLAS has one thread, or its threads and these would compete for the same cores.
Outside kernels it has as many as before.
"""

import contextlib
import contextvars
import ctypes
import functools
import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import product
from pathlib import Path

import numpy as np

from geonet.text import BadInput, check_counts

LARGEST_SCRATCH = 2**24  # bytes; a larger array is allocated afresh

ONE_THREAD = 2**26  # multiplications; for fewer, starting a second thread does not pay

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h

_memory = threading.local()
_limit = contextvars.ContextVar("limit", default=None)  # inside `limited`
_default = None  # what `set_threads` was given
_lock, _inside, _before = threading.RLock(), [], []  # of `_one_blas_thread`: threads, numbers


def affinity():
    """The numbers of the cores that this process may use; taskset and schedulers allow only some.

    Systems that do not tell are taken to allow all.
    """
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def available():
    """Number of cores that this process may use."""
    return len(affinity())


def set_threads(count):
    """Set how many threads kernels use. By default, one for each core that this process may use.

    Parameters
    ----------
    count : int or None
        None restores the default. The environment variable GEONET_THREADS replaces it.

    Raises
    ------
    ValueError
        If it is not a whole number of at least 1.
    """
    global _default
    if count is not None:
        check_counts(1, count=count)
    _default = count


def count():
    """Number of threads that kernels use here."""
    return _limit.get() or _default or _from_environment() or available()


def _from_environment():
    text = os.environ.get("GEONET_THREADS")
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise BadInput(f"GEONET_THREADS must be a whole number above 0, but is {text!r}")
    return int(text)


@contextlib.contextmanager
def limited(count):
    """Inside this `with`, kernels of this thread use so many threads, and BLAS always one.

    For programs that know how many cores are theirs, such as the processes of a sweep. Their
    numbers then do not depend on how BLAS divides its work.

    Parameters
    ----------
    count : int
    """
    token = _limit.set(count)
    try:
        with _one_blas_thread():
            yield
    finally:
        _limit.reset(token)


@functools.cache
def openblas(name):
    """A C function of the OpenBLAS that NumPy has loaded, such as "get_num_threads", or None."""
    core = Path(np.linalg._umath_linalg.__file__)  # on most systems, it finds what it is linked to
    beside = Path(np.__file__).parents[1].glob("numpy.libs/*openblas*")  # Windows needs the file
    for path, before, after in product([core, *beside], ("scipy_", ""), ("64_", "")):
        with contextlib.suppress(OSError, AttributeError):
            return getattr(ctypes.CDLL(str(path)), f"{before}openblas_{name}{after}")
    return None


@functools.cache
def _blas():
    """Functions that get and set the number of threads, for each BLAS that is known."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        functions = openblas("get_num_threads"), openblas("set_num_threads")
        return [functions] if all(functions) else []
    found = ThreadpoolController().select(user_api="blas").lib_controllers
    return [(library.get_num_threads, library.set_num_threads) for library in found]


@contextlib.contextmanager
def _one_blas_thread():
    """Give BLAS one thread inside this `with`, which several threads may enter at once.

    The number is that of the whole process: the first to enter notes it, the last to leave restores
    it.
    """
    global _before
    with _lock:
        if not _inside:
            _before = [(change, get()) for get, change in _blas()]
            for change, _ in _before:
                change(1)
        _inside.append(threading.get_ident())
    try:
        yield
    finally:
        with _lock:
            _leave(threading.get_ident())


def _leave(thread):
    _inside.remove(thread)
    if not _inside:
        for change, number in _before:
            change(number)


def keep_memory():
    """Have the C library keep freed memory for the next array, until this process ends.

    Fresh pages cost more than arithmetic. `python -m geonet` calls this; a program that trains
    convnets may too. It then holds the most memory that it has ever used.

    Returns
    -------
    bool
        False where the C library is not glibc, and nothing has changed.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # TypeError on Windows
        return False
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, -1))


@functools.cache
def _pool(workers):
    return ThreadPoolExecutor(workers, thread_name_prefix="geonet")


def _forked():
    """In the child, forget other threads: fork copies what they did, but not the threads."""
    _pool.cache_clear()
    for thread in [t for t in _inside if t != threading.get_ident()]:
        _leave(thread)
    _lock.release()


if hasattr(os, "register_at_fork"):  # while the lock is ours, no other thread leaves it locked
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_forked)


def _start(workers, run, thread):
    """Let another thread do its parts: a list of its future, which is empty once they are done."""
    context = contextvars.copy_context()  # np.errstate is part of it
    try:
        return [_pool(workers).submit(context.run, run, thread)]
    except RuntimeError as error:
        if "shutdown" not in str(error):
            raise
        run(thread)  # the main thread has ended, and Python lets no other start
        return []
    except BaseException:  # interrupted: Python may not know the new thread when it ends
        _pool(workers).shutdown(wait=False)
        _pool.cache_clear()
        raise


def parallel_for(function, parts, multiplications=math.inf):
    """Call `function(*part)` for every part, on `count()` threads, with one thread of BLAS.

    Thread k of n takes the parts k, k + n, k + 2n, …, in this order, however long they take. A
    single part is simply called: nothing competes with it, so BLAS may use its own threads.

    Parameters
    ----------
    function : function
        Writes its results into given arrays, each part to its own place.
    parts : sequence of tuple
    multiplications : int
        Approximate number in all parts. If it is small, the calling thread takes all parts.
    """
    if len(parts) == 1:
        function(*parts[0])
        return
    most = count()
    threads = min(most, len(parts) or 1) if multiplications > ONE_THREAD else 1

    def run(thread):
        for part in parts[thread::threads]:
            function(*part)

    with _one_blas_thread():
        others = []
        try:
            for thread in range(1, threads):
                others += _start(most - 1, run, thread)
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
