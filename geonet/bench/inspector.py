"""The cost of recording the geometry of a network at every step."""

from contextlib import nullcontext

import numpy as np

from geonet import ops
from geonet.bench.timing import in_turns, milliseconds, ratio
from geonet.gradients import Inspector
from geonet.models import mlp
from geonet.train import Adam

ROWS = 128  # of a batch
NETWORKS = {  # sizes, and steps per turn
    "100 units of 10 inputs": ([10, 100, 1], 200),
    "10 layers of 100 units": ([100] * 11 + [1], 20),
}


def training(sizes, method, steps, inspected):
    """So many training steps (forward, backward, Adam) as one function, with the inspector entered
    around them or not."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(ROWS, sizes[0])), rng.normal(size=(ROWS, 1))
    model = mlp(sizes, method, rng=rng)
    optimizer, inspector = Adam(model.parameters(), 1e-3), Inspector(model)

    def train():
        with inspector if inspected else nullcontext():
            for _ in range(steps):
                optimizer.zero_grad()
                ops.mse(model(x), y).backward()
                if inspected:
                    inspector.record()
                optimizer.step()

    return train


def rows(peer, turns):
    """Rows that compare a recorded step with the same step alone; PyTorch has no equivalent."""
    found = []
    for network, (sizes, steps) in NETWORKS.items():
        for method in ("SP", "BN", "GmP"):
            functions = {
                name: training(sizes, method, steps, name == "on") for name in ("off", "on")
            }
            seconds = in_turns(functions, {}, turns, repeats=1)
            times = f"{ratio(seconds['on'], seconds['off'])} times the step itself"
            name = f"recorded step, {network}, {method}, float64"
            found.append((name, milliseconds(seconds["on"] / steps), "", "", times))
    return found
