"""How much memory a training step of a VGG-6 takes, ours and PyTorch's, each in its own process."""

import subprocess
import sys

from geonet import environment
from geonet.bench import convnets
from geonet.kernels import threads


def rows(peer):
    """Rows of peak memory; none where the system does not tell (it is Linux that does)."""
    found = []
    for method, theirs in convnets.STEPS.items():
        ours = _in_a_process(method)
        if ours is None:
            return []
        row = f"peak memory of this step, {method}", f"{ours:.0f} MB"
        if peer is not None and theirs is not None:
            plain = environment.without_ours() | {"GEONET_THREADS": str(peer.threads)}
            names = [f"PyTorch {theirs}, {layout}" for layout in convnets.LAYOUTS]
            beside = min(_in_a_process(name, plain) for name in names)
            row += f"{beside:.0f} MB", f"{beside / ours:.2f}"
        found.append(row)
    return found


def _in_a_process(name, variables=None):
    """Megabytes that the step of this name adds to an idle process, or None."""
    command = [sys.executable, "-m", "geonet.bench.memory", name]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=variables)
    said = done.stdout
    return float(said) if said.strip() else None


def _resident(which):
    """Resident size of this process in megabytes: VmRSS now, or VmHWM at its highest."""
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith(which))
    return int(line.split()[1]) / 1024


def measure(name):
    """Peak resident size over three steps, less that after import and a warm-up with one image."""
    _step(name, 1)()
    idle = _resident("VmRSS")
    step = _step(name, convnets.BATCH)
    for _ in range(3):
        step()
    return _resident("VmHWM") - idle


def _step(name, batch):
    """Our step of a method, or as "PyTorch METHOD, LAYOUT" theirs."""
    if not name.startswith("PyTorch "):
        return convnets.vgg_step(name, *convnets.pictures(batch))
    import torch

    torch.set_num_threads(threads.count())
    method, layout = name.removeprefix("PyTorch ").split(", ")
    return convnets.torch_vgg_step(torch, method, layout, *convnets.pictures(batch))


if __name__ == "__main__":
    try:
        print(measure(sys.argv[1]))
    except FileNotFoundError:  # no /proc
        print()
