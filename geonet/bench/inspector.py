"""The cost of recording the geometry of a network at every step."""

from contextlib import nullcontext

import numpy as np

from geonet.bench.mlps import step
from geonet.bench.timing import in_turns, milliseconds, ratio
from geonet.gradients import Inspector
from geonet.models import mlp

ROWS = 128  # of a batch
NETWORKS = {  # sizes, and steps per turn
    "100 units of 10 inputs": ([10, 100, 1], 200),
    "10 layers of 100 units": ([100] * 11 + [1], 20),
}


def training(sizes, method, steps, inspected):
    """A function of so many training steps, with every one recorded or none."""
    rng = np.random.default_rng(0)
    data = rng.normal(size=(ROWS, sizes[0])), rng.normal(size=(ROWS, 1))
    model = mlp(sizes, method, rng=rng)
    inspector = Inspector(model)
    train = step(model, data, inspector.record if inspected else None)

    def several():
        with inspector if inspected else nullcontext():
            for _ in range(steps):
                train()

    return several


def rows(peer, turns):
    """Rows that compare a recorded step with the same step alone; PyTorch has no equivalent."""
    found = []
    for network, (sizes, steps) in NETWORKS.items():
        for method in ("SP", "BN", "GmP"):
            functions = {on: training(sizes, method, steps, on) for on in (False, True)}
            seconds = in_turns(functions, {}, turns, repeats=1)
            times = f"{ratio(seconds[True], seconds[False]):.2f} times the step itself"
            name = f"recorded step, {network}, {method}, float64"
            found.append((name, milliseconds(seconds[True] / steps), "", "", times))
    return found
