"""What computed the numbers: versions, the commit, the processor, and the kernel of BLAS."""

import ctypes
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import numpy as np

import geonet
from geonet import threads
from geonet.kernels.switch import PLAIN

PACKAGES = ("numpy", "numba", "matplotlib")


def versions():
    """What numbers depend on, as text by name. What cannot be found out is left out.

    Single digits depend on the kernel that BLAS has for the processor, and training amplifies them.
    OpenBLAS chooses that kernel at run time; OPENBLAS_CORETYPE overrides its choice.
    """
    found = {"geonet": geonet.__version__, "commit": _commit(), "python": platform.python_version()}
    found |= {name: version(name) for name in PACKAGES if name != "numba" or not PLAIN}
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    found |= {"blas": f"{blas['name']} {blas.get('version', '')}".strip()}
    found |= {"blas_kernel": _blas_kernel(), "processor": _processor()}
    return {name: text for name, text in found.items() if text}


def made_with(found):
    """What made results, from what `versions` returned then: a sentence for all that agree.

    Parameters
    ----------
    found : list of dict

    Returns
    -------
    list of str
        One per environment, with all commits.
    """
    commits = {}
    for made in found:
        others = tuple(item for item in made.items() if item[0] != "commit")
        commits.setdefault(others, {})[made.get("commit")] = None
    sentences = []
    for others, known in commits.items():
        words = [f"{name.replace('_', ' ')} {text}" for name, text in others]
        words[1:1] = [f"commit {commit}" for commit in known if commit]
        sentences.append(f"Made with {', '.join(words)}.")
    return sentences


def _commit():
    """The commit of the checkout that this package is in, and whether files were changed."""
    root = Path(geonet.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty= (changed)", "--exclude=*"]
    try:
        return subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace"
        ).stdout.strip()
    except OSError:  # git is not installed
        return None


def _blas_kernel():
    """The name of the processor family whose kernels OpenBLAS uses, such as Haswell."""
    function = threads.openblas("get_corename")
    if function is None:
        return None
    function.restype = ctypes.c_char_p
    return function().decode()


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
