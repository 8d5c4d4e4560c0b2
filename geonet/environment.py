"""The environment variables of this program: threads of libraries, and memory kept for reuse."""

import os
import subprocess
import sys

RESTARTED = "GEONET_RESTARTED"

# BLAS and Numba use one thread each, because geonet's own threads call them in parallel.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
              "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS")  # fmt: skip
# The C library keeps freed memory for the next array: fresh pages cost more than arithmetic.
KEEP_MEMORY = dict.fromkeys(("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"), str(2**32))


def wanted(threads, unset):
    """The environment that must be set before NumPy is loaded.

    Parameters
    ----------
    threads : int
    unset : sequence of str
        Variables that are left out.
    """
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    ours = dict.fromkeys(ONE_THREAD, "1") | {"GEONET_THREADS": str(threads)}
    return KEEP_MEMORY | kept | ours


def restart(threads, unset):
    """Restart this command in the environment it needs, unless it already runs in it.

    NumPy reads the environment when it is loaded, and is loaded by now. A process of MPI is left
    as it is, because MPI would not survive a restart.
    """
    if "mpi4py.MPI" in sys.modules:
        return
    restarted = os.environ.pop(RESTARTED, None)  # only once, or it could restart for ever
    environment = wanted(threads, unset)
    if not restarted and environment != dict(os.environ):
        command = [sys.executable, *sys.orig_argv[1:]]
        environment |= {RESTARTED: "1"}
        if os.name == "nt":  # here exec would return to the shell at once
            sys.exit(subprocess.call(command, env=environment))
        os.execve(sys.executable, command, environment)
