"""Numba at the first call of a kernel, so that importing geonet does not load Numba.

Kernels may call kernels of the same file; of another file not, for Numba's cache on disk does not
notice when that one changes.
"""

import functools
import threading

_lock = threading.RLock()  # two threads may come to a kernel at once, and should compile it once


class LazyJit:
    """A kernel that Numba compiles at its first call; `py_func` is the plain Python function."""

    def __init__(self, py_func, options):
        functools.update_wrapper(self, py_func)
        self.py_func = py_func
        self.options = {"cache": True, "nogil": True, "error_model": "numpy", **options}

    @functools.cached_property
    def compiled(self):
        import numba

        return numba.njit(**self.options)(self.py_func)

    def __call__(self, *arguments):
        if "compiled" not in self.__dict__:
            with _lock:
                return self.compiled(*arguments)
        return self.compiled(*arguments)

    @property
    def _numba_type_(self):
        """What Numba asks of a global that a compiled kernel calls."""
        return self.compiled._numba_type_


def lazy_jit(py_func=None, **options):
    """Decorate a kernel: `@lazy_jit`, or `@lazy_jit(fastmath={"contract"})`, options as njit's."""
    if py_func is None:
        return functools.partial(lazy_jit, **options)
    return LazyJit(py_func, options)
