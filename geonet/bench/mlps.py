"""A step of a small network, the cost of observing it, u(θ) with its pullback, and the import."""

import subprocess
import sys
from contextvars import ContextVar

import numpy as np

from geonet import graph, ops
from geonet.bench.timing import in_turns, milliseconds, ratio
from geonet.experiments.sets.levy import load_levy
from geonet.kernels import directions as kernel
from geonet.models import mlp
from geonet.train import Adam

UNITS = 100
LOOKS = 1000  # number of comparisons that are timed together
MAP_SHAPE = (512, 4608)  # rows and fan-in n of the last convolution of a VGG-6


def levy_network(method):
    """The network of the Levy experiment, and its loss on the data as a function of the model."""
    x, y = load_levy(np.random.default_rng(0), "paper").train
    model = mlp([1, UNITS, 1], method, rng=np.random.default_rng(0))
    return model, lambda model: ops.mae(model(x), y)


def levy_step(method):
    """One training step of the Levy network: forward, backward, Adam."""
    model, loss = levy_network(method)
    optimizer = Adam(model.parameters(), 1e-3, eps=1e-7)

    def step():
        optimizer.zero_grad()
        loss(model).backward()
        optimizer.step()

    return step


def torch_levy_step(torch, variant):
    """The same step of GmP in eager PyTorch, with one of its variants of Adam."""
    x, y = map(torch.tensor, load_levy(np.random.default_rng(0), "paper").train)
    weight = torch.empty(UNITS, 1, dtype=torch.float64).uniform_(-0.2, 0.2)
    sign = weight.sign()
    lambda_ = torch.zeros(UNITS, dtype=torch.float64, requires_grad=True)
    radius = weight.abs()[:, 0].clone().requires_grad_()
    output = torch.nn.Linear(UNITS, 1, dtype=torch.float64)
    parameters = [lambda_, radius, *output.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3, eps=1e-7, **variant)

    def step():
        optimizer.zero_grad()
        hidden = radius * torch.relu(torch.nn.functional.linear(x, sign, lambda_))
        torch.nn.functional.l1_loss(output(hidden), y).backward()
        optimizer.step()

    return step


def map_arrays(shape):
    """Angles (O, n−1), and a gradient (O, n) to pull back, for a shape (O, n)."""
    rng = np.random.default_rng(0)
    theta = rng.uniform(0, np.pi, (shape[0], shape[1] - 1)).astype(np.float32)
    return theta, rng.normal(size=shape).astype(np.float32)


def torch_map(torch, shape, axis):
    """u(θ) and its gradient in PyTorch, by roll and cumprod as in the authors' code.

    Parameters
    ----------
    torch : module
    shape : tuple of int
        (O, n).
    axis : {0, 1}
        Along which the angles of a unit lie in PyTorch: 1, one unit per row, or 0, one unit per
        column, which is the layout of the authors' code.
    """
    theta, gradient = (
        torch.tensor(values if axis else values.T.copy()) for values in map_arrays(shape)
    )
    theta.requires_grad_()
    one = torch.ones_like(theta.detach().narrow(axis, 0, 1))

    def forward_and_back():
        theta.grad = None
        cosines = torch.roll(torch.cat([one, torch.cos(theta)], dim=axis), -1, dims=axis)
        sines = torch.cumprod(torch.cat([one, torch.sin(theta)], dim=axis), dim=axis)
        (sines * cosines).backward(gradient)

    return forward_and_back


def levy_rows(peer, turns):
    """Rows for one training step under each method; GmP also with PyTorch's fastest Adam."""
    rows = []
    for method in ("SP", "WN", "BN", "GmP"):
        theirs = {}
        if peer is not None and method == "GmP":
            for variant in ("foreach", "fused", None):
                chosen = {variant: True} if variant else {"foreach": False}
                # A step this small is fastest on one thread, in PyTorch as in geonet.
                theirs[str(variant)] = peer.function(torch_levy_step, chosen, threads=1)
        seconds = in_turns({"ours": levy_step(method)}, theirs, turns, repeats=200)
        ours = seconds.pop("ours")
        fastest = min(seconds.values(), key=np.median, default=None)
        columns = ("", "") if fastest is None else (milliseconds(fastest), ratio(fastest, ours))
        rows.append((f"Levy step, {method}, float64", milliseconds(ours), *columns))
    return rows


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

    theirs = {}
    if peer is not None:
        for axis, layout in enumerate(("one unit per column, as the authors", "one unit per row")):
            theirs[layout] = peer.function(torch_map, MAP_SHAPE, axis)
    functions = {"ours": forward_and_back, "trigonometry": sine_and_cosine}
    seconds = in_turns(functions, theirs, turns, repeats=3)
    ours, yardstick = seconds.pop("ours"), seconds.pop("trigonometry")
    name = f"u(θ) and pullback, {MAP_SHAPE}, float32"
    rows = [("np.sin and np.cos of as many angles", milliseconds(yardstick))]
    times = f"{np.median(ours / yardstick):.2f} times sin and cos"
    rows.append((name, milliseconds(ours), "", "", times))
    for layout, found in seconds.items():
        rows.append(("", "", milliseconds(found), ratio(found, ours), f"PyTorch, {layout}"))
    return rows


def tracing_rows(turns):
    """Rows for a step inside `geonet.graph.watch`, and for what its existence costs outside.

    Outside, the engine makes one comparison after each operation that it records.
    """
    mode, step = ContextVar("mode", default=True), levy_step("GmP")

    def without():
        for _ in range(LOOKS):
            if mode.get():
                pass

    def compare():
        for _ in range(LOOKS):
            if (watch := mode.get()) and watch is not True:
                pass

    def watched():
        with graph.watch(gradients=True):
            step()

    functions = {"without": without, "compare": compare, "step": step, "watched": watched}
    seconds = in_turns(functions, {}, turns, repeats=100)
    model, loss = levy_network("GmP")
    count = sum(bool(node.inputs) for node in graph.trace(loss(model)).nodes)
    cost = count * (seconds["compare"] - seconds["without"]) / LOOKS
    share = np.median(cost / seconds["step"])
    times = f"{np.median(seconds['watched'] / seconds['step']):.2f} times one that is not"
    words = f"{share:.2%} of a Levy step, in {count} operations"
    return [
        ("Levy step, GmP, watched", milliseconds(seconds["watched"]), "", "", times),
        ("not watched: cost of the comparison", milliseconds(cost), "", "", words),
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
    measured = [levy_rows(peer, turns), tracing_rows(turns), map_rows(peer, turns)]
    return [*(row for part in measured for row in part), import_row(turns)]
