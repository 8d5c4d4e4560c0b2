"""Whether all that the course needs is installed and works."""

import importlib.metadata
import importlib.util
import sys
import tempfile
from pathlib import Path

REQUIRED = {"numpy": (2, 0), "numba": (0, 61), "matplotlib": (3, 8), "hypothesis": (6, 100)}
ROOT = Path(__file__).resolve().parents[1]


def main():
    """Print one line for each check; the exit status is 1 if one fails."""
    sound = True
    for name, check in CHECKS.items():
        try:
            print(f"ok     {name}: {check()}", flush=True)
        except Exception as error:
            sound = False
            print(f"WRONG  {name}: {error}", flush=True)
    print("Everything works." if sound else "The lines marked WRONG say what to do.")
    return 0 if sound else 1


def _python():
    return f"{'.'.join(map(str, sys.version_info[:3]))}, {sys.executable}"


def _packages():
    found = []
    for name, least in REQUIRED.items():
        if not importlib.util.find_spec(name):
            if name == "numba":  # geonet runs without it, slower; lesson 11 is about it
                found.append("no numba, which lesson 11 needs")
                continue
            command = f"{sys.executable} -m pip install -r {ROOT / 'requirements.txt'}"
            raise RuntimeError(f"{name} is missing; run {command}")
        version = importlib.metadata.version(name)
        if tuple(int(part) for part in version.split(".")[:2]) < least:
            raise RuntimeError(f"{name} is {version}, but {'.'.join(map(str, least))} is needed")
        found.append(f"{name} {version}")
    return ", ".join(found)


def _kernels():
    import numpy as np

    from geonet import hypersphere
    from geonet.kernels.switch import PLAIN

    theta = np.array([[0.5, 1.0, 2.0]])
    right = [[np.cos(0.5), np.sin(0.5) * np.cos(1.0), *np.sin(0.5) * np.sin(1.0)
              * np.array([np.cos(2.0), np.sin(2.0)])]]  # fmt: skip
    if not np.allclose(hypersphere.to_cartesian(theta), right, rtol=1e-12):
        raise RuntimeError("the compiled code computes wrong numbers; reinstall numba")
    return "they give the right numbers" + (f", slowly, in plain NumPy: {PLAIN}" if PLAIN else "")


def _gradients():
    import numpy as np

    import geonet

    x = np.random.default_rng(0).standard_normal((3, 4))
    geonet.gradcheck(lambda t: geonet.ops.sum(geonet.ops.tanh(t)), x)
    return "they agree with differences"


def _folder():
    with tempfile.NamedTemporaryFile(dir="."):
        return f"{Path.cwd()} can be written to"


def _figures():
    from geonet.plots import base
    from lessons import figures

    figure, axes = figures.new()
    axes.plot([0, 1], [0, 1], **figures.style(0))
    with tempfile.TemporaryDirectory() as folder:
        base.save(figure, folder, "trial", "trial", "A line.")
    return "they can be drawn and saved"


CHECKS = {
    "Python": _python,
    "packages": _packages,
    "kernels": _kernels,
    "gradients": _gradients,
    "figures": _figures,
    "this folder": _folder,
}
