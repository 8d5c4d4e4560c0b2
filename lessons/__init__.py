"""The course: twelve lessons from a gradient by hand to a residual network, with graded exercises.

A lesson `lessons/NN_name.py` is a script to run and to read, in cells (`# %%`). Its exercises are
in `lessons/exercises/eNN.py`, each with a reference solution, wrong and right solutions that the
grader is tried on, and hints. `python -m lessons` lists the lessons and says how to go on.
"""

import io
import sys

for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper):  # not in a notebook, and not where it is closed
        stream.reconfigure(errors="replace")  # for terminals that cannot show ± and λ
