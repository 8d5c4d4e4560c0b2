"""How much memory a training step takes, ours and PyTorch's, each in its own process."""

import importlib
import subprocess
import sys

from geonet import environment


def rows(peer, module, methods, images):
    """Rows of peak memory; none if the system does not report it (Linux does).

    Parameters
    ----------
    peer : geonet.bench.torch_process.Peer or None
    module : module
        Of this package, with `step(name, *images)` and the names of PyTorch's LAYOUTS.
    methods : dict of str to str or None
        Our name of a step -> PyTorch's name of the same step.
    images : tuple of int
        Arguments of `step` after the name; the first is the number of images.
    """
    found = []
    for method, theirs in methods.items():
        ours = _in_a_process(module, method, images)
        if ours is None:
            return []
        row = f"peak memory of this step, {method}", f"{ours:.0f} MB"
        if peer is not None and theirs is not None:
            plain = environment.without_ours() | {"GEONET_THREADS": str(peer.threads)}
            names = [f"PyTorch {theirs}, {layout}" for layout in module.LAYOUTS]
            beside = min(_in_a_process(module, name, images, plain) for name in names)
            row += f"{beside:.0f} MB", f"{beside / ours:.2f}"
        found.append(row)
    return found


def _in_a_process(module, name, images, variables=None):
    """Megabytes that the step of this name adds to an idle process, or None."""
    command = [sys.executable, "-m", "geonet.bench.memory", module.__name__, name]
    command += map(str, images)
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=variables)
    return float(done.stdout) if done.stdout.strip() else None


def _resident(which):
    """Resident size of this process in megabytes: VmRSS is the current, VmHWM the highest."""
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith(which))
    return int(line.split()[1]) / 1024


def measure(module, name, images, *side):
    """Peak resident size over three steps, minus that after a warm-up with one image."""
    module.step(name, 1, *side)()
    idle = _resident("VmRSS")
    step = module.step(name, images, *side)
    for _ in range(3):
        step()
    return _resident("VmHWM") - idle


if __name__ == "__main__":
    try:
        print(measure(importlib.import_module(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])))
    except FileNotFoundError:  # no /proc
        print()
