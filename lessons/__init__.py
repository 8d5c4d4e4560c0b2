"""The course: twelve lessons from a gradient by hand to a residual network, with graded exercises.

A lesson `lessons/NN_name.py` is a script to run and to read, in cells (`# %%`). Its exercises are
in `lessons/exercises/eNN.py`, each with a reference solution, wrong and right solutions that the
grader is tried on, and hints. `python -m lessons` lists the lessons and says how to go on.
"""

import atexit

from geonet import streams

streams.prepare()  # for every lesson: terminals that cannot show λ, and readers that stop reading
atexit.register(streams.check, "lesson")
