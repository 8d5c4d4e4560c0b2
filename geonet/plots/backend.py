"""Matplotlib, imported whatever backend its user has asked for: figures here need none.

Matplotlib refuses to be imported while MPLBACKEND names a backend that it cannot find. A program
that a notebook starts inherits the notebook's, which may not be installed for that program.
"""

import contextlib
import os
import sys


def _import():
    """Import Matplotlib with the user's backend, or without it if Matplotlib refuses it."""
    chosen = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib
    finally:
        if chosen is not None:
            os.environ["MPLBACKEND"] = chosen
    if chosen:
        with contextlib.suppress(ValueError):
            matplotlib.rcParams["backend"] = chosen


if "matplotlib" not in sys.modules:
    _import()
