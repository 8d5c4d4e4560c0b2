"""The cost of recording the geometry of a network at every step."""

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


def inspected_step(sizes, method, inspected):
    """One training step (forward, backward, Adam), with all hidden layers recorded or none."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(ROWS, sizes[0])), rng.normal(size=(ROWS, 1))
    model = mlp(sizes, method, rng=rng)
    optimizer = Adam(model.parameters(), 1e-3)
    inspector = Inspector(model).__enter__() if inspected else None

    def step():
        optimizer.zero_grad()
        ops.mse(model(x), y).backward()
        if inspector is not None:
            inspector.record()
        optimizer.step()

    return step


def rows(peer, turns):
    """Rows that compare a recorded step with the same step alone; PyTorch has no equivalent."""
    found = []
    for network, (sizes, repeats) in NETWORKS.items():
        for method in ("SP", "BN", "GmP"):
            steps = {name: inspected_step(sizes, method, name == "on") for name in ("off", "on")}
            seconds = in_turns(steps, {}, turns, repeats)
            times = f"{ratio(seconds['on'], seconds['off'])} times the step itself"
            name = f"recorded step, {network}, {method}, float64"
            found.append((name, milliseconds(seconds["on"]), "", "", times))
    return found
