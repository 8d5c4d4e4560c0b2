"""Matplotlib, imported whatever backend its user has asked for: figures here need none.

Matplotlib refuses to be imported while MPLBACKEND names a backend that it cannot find. A program
that a notebook starts inherits the notebook's, which may not be installed for that program.
"""

import contextlib
import os
import sys

if "matplotlib" not in sys.modules and (chosen := os.environ.pop("MPLBACKEND", "")):
    import matplotlib

    os.environ["MPLBACKEND"] = chosen
    with contextlib.suppress(ValueError):  # it cannot be found
        matplotlib.rcParams["backend"] = chosen
