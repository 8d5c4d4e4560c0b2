"""One hypothesis profile for every run: the same examples each time, so that failures repeat.

An interruption means the same to every program that a test starts, too: what runs in the background
of a shell has been told to ignore it, and so would all that it starts.
"""

import signal

import pytest
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


@pytest.fixture(scope="session")
def torch():
    """PyTorch, for the tests of parity, all of which are slow; without it they are skipped."""
    return pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Whatever takes PyTorch is a slow test, where continuous integration installs it."""
    for item in items:
        if "torch" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
