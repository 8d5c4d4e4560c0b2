"""What the tests of kernels share."""

import pytest

from geonet.kernels.switch import PLAIN

# Where kernels run in plain NumPy, they are the reference itself, and nothing is left to compare.
of_compiled_code = pytest.mark.skipif(bool(PLAIN), reason=f"of compiled code, but {PLAIN}")


def without_notice(errors):
    """What a command wrote to standard error, without the one line that announces plain kernels."""
    notice = f"geonet: {PLAIN}, so kernels run in plain NumPy, more slowly\n"
    assert errors.count("plain NumPy") <= bool(PLAIN)
    return errors.replace(notice, "")
