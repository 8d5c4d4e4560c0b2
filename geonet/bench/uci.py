"""One training step of GmP at the size of the UCI experiment: 100 units, batches of 1024."""

import numpy as np

from geonet import ops
from geonet.bench.timing import columns, in_turns
from geonet.models import mlp
from geonet.train import Adam

FEATURES, UNITS, BATCH = 13, 100, 1024  # the features of Boston
OPTIMIZERS = {"foreach": {"foreach": True}, "fused": {"fused": True}, "plain": {"foreach": False}}


def batch(dtype):
    """x (1024, 13) and y (1024, 1)."""
    rng = np.random.default_rng(0)
    return tuple(rng.normal(size=(BATCH, n)).astype(dtype) for n in (FEATURES, 1))


def network(dtype):
    """The network that geonet and PyTorch both start from."""
    return mlp([FEATURES, UNITS, 1], "GmP", rng=np.random.default_rng(0), dtype=dtype)


def step(dtype):
    """One training step: forward, backward, Adam."""
    (x, y), model = batch(dtype), network(dtype)
    optimizer = Adam(model.parameters(), 1e-3, eps=1e-7)

    def step():
        optimizer.zero_grad()
        ops.mae(model(x), y).backward()
        optimizer.step()

    return step


def torch_step(torch, dtype, optimizer):
    """The same step in eager PyTorch, with u(θ) by roll and cumprod as in the authors' code.

    Parameters
    ----------
    torch : module
    dtype : numpy.dtype
    optimizer : str
        One of `OPTIMIZERS`, the variants of PyTorch's Adam.
    """
    x, y = map(torch.tensor, batch(dtype))
    start = [torch.tensor(p.data, requires_grad=True) for p in network(dtype).parameters()]
    theta, lambda_, radius, weight, bias = start
    one = torch.ones(UNITS, 1, dtype=x.dtype)
    adam = torch.optim.Adam(start, lr=1e-3, eps=1e-7, **OPTIMIZERS[optimizer])

    def step():
        adam.zero_grad()
        cosines = torch.roll(torch.cat([one, torch.cos(theta)], dim=1), -1, dims=1)
        sines = torch.cumprod(torch.cat([one, torch.sin(theta)], dim=1), dim=1)
        hidden = radius * torch.relu(torch.nn.functional.linear(x, sines * cosines, lambda_))
        prediction = torch.nn.functional.linear(hidden, weight, bias)
        torch.nn.functional.l1_loss(prediction, y).backward()
        adam.step()

    return step


def rows(peer, turns):
    """One row per precision; PyTorch with its fastest variant of Adam, on one thread like ours."""
    found = []
    for dtype in (np.float64, np.float32):
        theirs = {}
        if peer is not None:
            theirs = {o: peer.function(torch_step, dtype, o, threads=1) for o in OPTIMIZERS}
        seconds = in_turns({"ours": step(dtype)}, theirs, turns, repeats=50)
        ours = seconds.pop("ours")
        fastest = min(seconds.values(), key=np.median, default=None)
        name = f"{UNITS} units, batch {BATCH}, GmP, {np.dtype(dtype).name}"
        found.append((name, *columns(ours, fastest)))
    return found
