"""Timings, compared with PyTorch if it is installed.

Each row times one piece of work, ours and theirs in turns, in one run and on equally many threads.
It gives medians over the turns; a ratio is the median of the ratios of the turns.
"""

import contextlib
import os

from geonet import threads
from geonet.text import BadInput, aligned

SUMMARY = "time training steps, u(θ) and convolutions, compared with PyTorch if it is installed"
HEADER = ("", "geonet", "PyTorch", "PyTorch / geonet", "")
# PyTorch picks its kernels by the processor; these keep OpenBLAS from doing the same.
HINDER_BLAS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
PARTS = ("mlp", "conv", "resnet")
TURNS = 15


def add_arguments(parser):
    """Declare the options of `bench`, which has all cores."""
    parser.set_defaults(default_threads=None)
    words = "small networks and u(θ), convolutions and VGG-6, or ResNet-18 (default: mlp)"
    parser.add_argument("part", nargs="?", choices=PARTS, default=PARTS[0], help=words)
    words = f"turns to time (default: {TURNS})"
    parser.add_argument("--turns", type=int, default=TURNS, help=words)


def main(arguments):
    """Print the table of timings, for `python -m geonet bench`."""
    from geonet.bench import pytorch

    turns = arguments.turns
    if turns < 1:
        raise BadInput(f"--turns must be at least 1, but is {turns}")
    version = pytorch.installed()
    beside = "PyTorch is not installed" if version is None else f"PyTorch {version}"
    print(f"medians of {turns} turns, {threads.count()} thread(s); {beside}\n")
    if found := [name for name in HINDER_BLAS if name in os.environ]:
        print(f"{', '.join(found)} may keep NumPy from its fastest kernels: unset it first\n")
    with contextlib.nullcontext() if version is None else pytorch.process() as peer:
        rows = _rows(arguments.part, peer, turns)
    print(aligned([HEADER, *((*row, *[""] * (len(HEADER) - len(row))) for row in rows)]))


def _rows(part, peer, turns):
    from geonet.bench import convnets, inspector, mlps, resnets

    modules = {"mlp": (mlps, inspector), "conv": (convnets,), "resnet": (resnets,)}[part]
    return [row for module in modules for row in module.rows(peer, turns)]
