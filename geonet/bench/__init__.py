"""Timings, side by side with PyTorch where it is installed.

Each row times one piece of work in turns, ours and theirs, in one run and on as many threads, and
gives the median; a ratio is the median of the ratios of turns.
"""

from geonet.kernels import threads
from geonet.text import BadInput, aligned

SUMMARY = "time training steps, u(θ) and convolutions, beside PyTorch where it is installed"
HEADER = ("", "geonet", "PyTorch", "PyTorch / geonet", "")
# PyTorch picks its kernels by the processor; whatever keeps OpenBLAS from it is set aside.
SET_ASIDE = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
PARTS = {"mlp": 15, "conv": 7}  # turns, unless the user says how many


def add_arguments(parser):
    """Declare the options of `bench`."""
    words = "small networks and u(θ), or convolutions and VGG-6 (default: mlp)"
    parser.add_argument("part", nargs="?", choices=PARTS, default="mlp", help=words)
    words = ", ".join(f"{turns} of {part}" for part, turns in PARTS.items())
    parser.add_argument("--turns", type=int, help=f"turns to time (default: {words})")


def _torch():
    """PyTorch, or None where it is not installed."""
    try:
        import torch
    except ImportError:
        return None
    return torch


def main(arguments):
    """Print the table of timings: what `python -m geonet bench` does."""
    from geonet.bench import convnets, memory, mlps

    turns = PARTS[arguments.part] if arguments.turns is None else arguments.turns
    if turns < 1:
        raise BadInput(f"--turns must be at least 1, but is {turns}")
    torch = _torch()
    if torch is not None:
        torch.set_num_threads(threads.count())
    beside = "PyTorch is not installed" if torch is None else f"PyTorch {torch.__version__}"
    print(f"medians of {turns} turns, {threads.count()} thread(s); {beside}\n")
    rows = {"mlp": mlps, "conv": convnets}[arguments.part].rows(torch, turns)
    if arguments.part == "conv":
        rows += memory.rows(torch)
    print(aligned([HEADER, *((*row, *[""] * (len(HEADER) - len(row))) for row in rows)]))
