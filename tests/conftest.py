"""One hypothesis profile for every run: the same examples each time, so that failures repeat.

An interruption means the same to every program that a test starts, too: what runs in the background
of a shell has been told to ignore it, and so would all that it starts.
"""

import signal

from hypothesis import HealthCheck, settings

settings.register_profile(
    "geonet",
    derandomize=True,
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("geonet")

signal.signal(signal.SIGINT, signal.default_int_handler)
