"""How much memory a training step of a VGG-6 takes, ours and PyTorch's, each in its own process."""

import subprocess
import sys

from geonet.bench import convnets


def rows(torch):
    """Rows of peak memory; none where the system does not tell (it is Linux that does)."""
    found = []
    for method, theirs in convnets.STEPS.items():
        ours = _in_a_process(method)
        if ours is None:
            return []
        row = f"peak memory of this step, {method}", f"{ours:.0f} MB"
        if torch is not None and theirs is not None:
            beside = min(
                _in_a_process(f"PyTorch {theirs}, {layout}") for layout in convnets.LAYOUTS
            )
            row += f"{beside:.0f} MB", f"{beside / ours:.2f}"
        found.append(row)
    return found


def _in_a_process(name):
    """Megabytes that the step of this name adds to an idle process, or None."""
    command = [sys.executable, "-m", "geonet.bench.memory", name]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(said) if said.strip() else None


def _resident(which):
    """Resident size of this process in megabytes: VmRSS now, or VmHWM at its highest."""
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith(which))
    return int(line.split()[1]) / 1024


def measure(name):
    """Peak resident size over three steps, less that after import and a warm-up with one image."""
    torch = None
    if name.startswith("PyTorch"):
        import torch

        from geonet.kernels import threads

        torch.set_num_threads(threads.count())
    convnets.step_function(torch, name, 1)()
    idle = _resident("VmRSS")
    step = convnets.step_function(torch, name, convnets.BATCH)
    for _ in range(3):
        step()
    return _resident("VmHWM") - idle


if __name__ == "__main__":
    try:
        print(measure(sys.argv[1]))
    except FileNotFoundError:  # no /proc
        print()
