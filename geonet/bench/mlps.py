"""Steps of small networks, the cost of observing them, u(θ) with its pullback, and the import."""

import subprocess
import sys

import numpy as np

from geonet import graph, ops
from geonet.bench import pytorch
from geonet.bench.timing import columns, in_turns, milliseconds, ratio
from geonet.experiments.sets.levy import load_levy
from geonet.kernels import directions as kernel
from geonet.models import mlp
from geonet.tensor import observers
from geonet.train import Adam

UNITS = 100
FEATURES, BATCH = 13, 1024  # of the UCI experiment, with the features of Boston
OPTIMIZERS = {"foreach": {"foreach": True}, "fused": {"fused": True}, "plain": {"foreach": False}}
LOOKS = 1000  # number of looks for observers that are timed together
MAP_SHAPE = (512, 4608)  # rows and fan-in n of the last convolution of a VGG-6


def levy_data():
    """The training points of the Levy experiment: x and y, (50, 1) each, float64."""
    return load_levy(np.random.default_rng(0), "paper").train


def uci_data(dtype):
    """A batch of the UCI experiment's size: x (1024, 13) and y (1024, 1)."""
    rng = np.random.default_rng(0)
    return tuple(rng.normal(size=(BATCH, n)).astype(dtype) for n in (FEATURES, 1))


def network(method, data):
    """The network of one hidden layer that geonet and PyTorch both start from."""
    x, _ = data
    return mlp([x.shape[1], UNITS, 1], method, rng=np.random.default_rng(0), dtype=x.dtype)


def step(model, data, record=None):
    """One training step: forward, backward, what is to be recorded if anything is, Adam."""
    (x, y), optimizer = data, Adam(model.parameters(), 1e-3, eps=1e-7)

    def step():
        optimizer.zero_grad()
        ops.mae(model(x), y).backward()
        if record is not None:
            record()
        optimizer.step()

    return step


def torch_step(torch, data, optimizer):
    """The same step of GmP in eager PyTorch, with one of its variants of Adam in `OPTIMIZERS`."""
    x, y = map(torch.tensor, data)
    model = network("GmP", data)
    start = [torch.tensor(p.data, requires_grad=True) for p in model.parameters()]
    theta, lambda_, radius, weight, bias = start
    one = torch.ones(UNITS, 1, dtype=x.dtype)
    trained = [p for p in start if p.numel()]  # with one input, the direction is a fixed sign
    sign = None if theta.numel() else torch.tensor(model[0].layer.parameterization.sign)
    adam = torch.optim.Adam(trained, lr=1e-3, eps=1e-7, **OPTIMIZERS[optimizer])

    def step():
        adam.zero_grad()
        u = pytorch.directions(torch, theta, one) if sign is None else sign
        hidden = radius * torch.relu(torch.nn.functional.linear(x, u, lambda_))
        prediction = torch.nn.functional.linear(hidden, weight, bias)
        torch.nn.functional.l1_loss(prediction, y).backward()
        adam.step()

    return step


def step_rows(peer, turns):
    """Rows for training steps; GmP also in PyTorch, with its fastest variant of Adam."""
    steps = [
        (f"Levy step, {method}, float64", method, levy_data(), 200)
        for method in ("SP", "WN", "BN", "GmP")
    ]
    steps += [
        (f"{UNITS} units, batch {BATCH}, GmP, {dtype}", "GmP", uci_data(dtype), 50)
        for dtype in ("float64", "float32")
    ]
    rows = []
    for name, method, data, repeats in steps:
        cases = {optimizer: (data, optimizer) for optimizer in OPTIMIZERS if method == "GmP"}
        # Steps this small are fastest on one thread, in PyTorch as in geonet.
        theirs = pytorch.functions(peer, torch_step, cases, count=1)
        seconds = in_turns({"ours": step(network(method, data), data)}, theirs, turns, repeats)
        rows.append((name, *columns(seconds.pop("ours"), seconds.values())))
    return rows


def observing_rows(turns):
    """Rows for a step inside `geonet.graph.watch`, and for what its existence costs outside.

    Outside, the engine looks for observers after each operation that it records, and finds none.
    """
    data = x, y = levy_data()
    model = network("GmP", data)
    train = step(model, data)

    def without():
        for _ in range(LOOKS):
            pass

    def looking():
        for _ in range(LOOKS):
            for _ in observers():
                pass

    def watched():
        with graph.watch(gradients=True):
            train()

    functions = {"without": without, "looking": looking, "step": train, "watched": watched}
    seconds = in_turns(functions, {}, turns, repeats=100)
    count = sum(bool(node.inputs) for node in graph.trace(ops.mae(model(x), y)).nodes)
    cost = count * (seconds["looking"] - seconds["without"]) / LOOKS
    times = f"{ratio(seconds['watched'], seconds['step']):.2f} times one that is not"
    share = f"{ratio(cost, seconds['step']):.2%} of a Levy step, in {count} operations"
    return [
        ("Levy step, GmP, watched", milliseconds(seconds["watched"]), "", "", times),
        ("not watched: cost of looking for observers", milliseconds(cost), "", "", share),
    ]


def map_arrays(shape):
    """Angles (O, n−1), and a gradient (O, n) to pull back, for a shape (O, n)."""
    rng = np.random.default_rng(0)
    theta = rng.uniform(0, np.pi, (shape[0], shape[1] - 1)).astype(np.float32)
    return theta, rng.normal(size=shape).astype(np.float32)


def torch_map(torch, shape, axis):
    """u(θ) and its gradient in PyTorch.

    Parameters
    ----------
    torch : module
    shape : tuple of int
        (O, n).
    axis : {0, 1}
        Along which the angles of a unit lie in PyTorch: 1, one unit per row, or 0, one unit per
        column, which is the layout of the authors' code.
    """
    theta, gradient = (torch.tensor(a if axis else a.T.copy()) for a in map_arrays(shape))
    one = torch.ones_like(theta.narrow(axis, 0, 1))
    theta.requires_grad_()

    def forward_and_back():
        theta.grad = None
        pytorch.directions(torch, theta, one, axis).backward(gradient)

    return forward_and_back


def map_rows(peer, turns):
    """Rows for u(θ) and its pullback, for np.sin and np.cos, and for PyTorch in two layouts."""
    theta, gradient = map_arrays(MAP_SHAPE)
    sine, cosine = np.empty_like(theta), np.empty_like(theta)

    def forward_and_back():
        kernel.direction(theta)
        kernel.direction_pullback(gradient, theta)

    def sine_and_cosine():
        np.sin(theta, out=sine)
        np.cos(theta, out=cosine)

    cases = {
        "PyTorch, one unit per column, as the authors": (MAP_SHAPE, 0),
        "PyTorch, one unit per row": (MAP_SHAPE, 1),
    }
    functions = {"ours": forward_and_back, "trigonometry": sine_and_cosine}
    theirs = pytorch.functions(peer, torch_map, cases)
    seconds = in_turns(functions, theirs, turns, repeats=3)
    ours, yardstick = seconds.pop("ours"), seconds.pop("trigonometry")
    name = f"u(θ) and pullback, {MAP_SHAPE}, float32"
    times = f"{ratio(ours, yardstick):.2f} times sin and cos"
    return [
        ("np.sin and np.cos of as many angles", milliseconds(yardstick)),
        (name, milliseconds(ours), "", "", times),
        *(("", "", *columns(ours, [found])[1:], layout) for layout, found in seconds.items()),
    ]


def import_row(turns):
    """Row for `import geonet`, without the time to start Python."""
    functions = {
        name: lambda code=code: subprocess.run([sys.executable, "-c", code], check=True)
        for name, code in (("empty", ""), ("geonet", "import geonet"))
    }
    seconds = in_turns(functions, {}, min(turns, 5), repeats=1)
    return ("import geonet", milliseconds(seconds["geonet"] - seconds["empty"]))


def rows(peer, turns):
    """All rows of this part; `peer` is the process with PyTorch, or None."""
    return [
        *step_rows(peer, turns), *observing_rows(turns), *map_rows(peer, turns), import_row(turns)
    ]  # fmt: skip
