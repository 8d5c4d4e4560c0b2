"""A Python that lacks what only some systems have, as on Windows and macOS."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SITE = """
import ctypes, os, signal, sys

for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None  # importing it is an ImportError
functions = {
    os: ("fork", "killpg", "register_at_fork", "sched_getaffinity", "sched_setaffinity"),
    signal: ("pthread_sigmask", "setitimer"),
}
for module, names in functions.items():
    for name in names:
        vars(module).pop(name, None)
load = ctypes.CDLL

def load_a_file(name, *arguments, **options):
    if name is None:
        raise TypeError("there is no library of the program itself, nor mallopt in it")
    return load(name, *arguments, **options)

ctypes.CDLL = load_a_file
print("absent", file=sys.stderr)
"""


def environment_without(folder):
    """The environment of such a Python, which says "absent" on standard error when it starts.

    Parameters
    ----------
    folder : Path
        Where the file may be put that makes it so.
    """
    (folder / "sitecustomize.py").write_text(SITE, encoding="utf-8")
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
