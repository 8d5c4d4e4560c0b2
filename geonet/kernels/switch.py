"""The switch between plain NumPy and compiled kernels, and the loading of Numba at the first call.

``GEONET_KERNELS=numpy``, or a Python without Numba, runs everything on `geonet.kernels.reference`.
Otherwise a kernel runs compiled. Importing geonet does not load Numba: the first call does.

Compiled kernels are kept in Numba's cache on disk: in the folder NUMBA_CACHE_DIR, beside the source
or in the user's home. Where none of them can be written to, every process compiles its own.
Kernels use kernels and constants of their own file only, because the cache does not notice changes
in another. After a change of the options with which kernels are compiled, empty the cache.
"""

import contextlib
import functools
import importlib.util
import os
import threading

import numpy as np

from geonet.text import BadInput

NATIVE = frozenset((np.dtype(np.float32), np.dtype(np.float64)))  # what compiled kernels take


WANTED = os.environ.get("GEONET_KERNELS") or "numba"
_missing = "" if importlib.util.find_spec("numba") else "Numba is not installed"
PLAIN = "GEONET_KERNELS=numpy" if WANTED == "numpy" else _missing  # why kernels run in plain NumPy


def check_wanted():
    """Refuse another word in GEONET_KERNELS. Commands do it, so that `import geonet` cannot fail.

    Raises
    ------
    BadInput
    """
    if WANTED not in ("numba", "numpy"):
        raise BadInput(f"GEONET_KERNELS must be numba or numpy, but is {WANTED!r}")


def equal_to(reference, arrays=0):
    """Declare which function of `geonet.kernels.reference` a kernel equals, up to rounding.

    That function runs instead of the kernel in plain NumPy, and for arrays that compiled code does
    not take, such as complex ones.

    Parameters
    ----------
    reference : function
        With the same arguments.
    arrays : int
        The number of first arguments that must be float32 or float64 for the kernel. It gets them
        contiguous in memory.
    """

    def choose(kernel):
        if PLAIN:
            return reference
        if not arrays:
            return kernel

        @functools.wraps(kernel)
        def chosen(*arguments):
            contiguous = True
            for array in arguments[:arrays]:
                if getattr(array, "dtype", None) not in NATIVE:  # a number has none
                    return reference(*arguments)
                contiguous = contiguous and array.flags.c_contiguous
            if not contiguous:
                copied = (np.asarray(array, order="C") for array in arguments[:arrays])
                arguments = *copied, *arguments[arrays:]
            return kernel(*arguments)

        return chosen

    return choose


@contextlib.contextmanager
def _at_most_slower(cache):
    """Let what goes wrong with a cache cost time only. One that is damaged is emptied."""
    try:
        yield
    except Exception:  # damaged files can cause any error
        with contextlib.suppress(Exception):
            cache.flush()


_lock = threading.RLock()


class LazyJit:
    """A kernel that Numba compiles at its first call; `py_func` is the plain Python function."""

    def __init__(self, py_func, options):
        functools.update_wrapper(self, py_func)
        self.py_func = py_func
        self.options = {"nogil": True, "error_model": "numpy", **options}

    @functools.cached_property
    def compiled(self):
        """Numba's form of the function, which compiles for the types that it meets."""
        with _lock:  # two threads may call a kernel at once, and should share one form
            if "compiled" not in self.__dict__:
                import numba

                check_wanted()
                kernel = numba.njit(**self.options)(self.py_func)
                with contextlib.suppress(RuntimeError):  # there is no folder to write to
                    kernel.enable_caching()
                    # Numba uses its cache inside of this, which otherwise does so on Windows alone
                    guard = functools.partial(_at_most_slower, kernel._cache)
                    kernel._cache._guard_against_spurious_io_errors = guard
                self.compiled = kernel
            return self.__dict__["compiled"]

    def __call__(self, *arguments):
        return self.compiled(*arguments)

    @property
    def _numba_type_(self):
        """Numba asks this of a global that a compiled kernel calls."""
        return self.compiled._numba_type_


def lazy_jit(py_func=None, **options):
    """Decorate a kernel: `@lazy_jit`, or `@lazy_jit(fastmath={"contract"})` with njit's options."""
    if py_func is None:
        return functools.partial(lazy_jit, **options)
    return LazyJit(py_func, options)
