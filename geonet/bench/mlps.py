"""The step of a small network, u(θ) with its pullback, and the import."""

import subprocess
import sys

import numpy as np

from geonet import ops
from geonet.bench.timing import in_turns, milliseconds, ratio
from geonet.data.levy import load_levy
from geonet.kernels import hypersphere as kernel
from geonet.kernels import threads
from geonet.models import mlp
from geonet.train import Adam

UNITS = 100
MAP_SHAPE = (512, 4608)  # rows and fan-in n of the last convolution of a VGG-6


def levy_step(method):
    """One training step of the Levy network: forward, backward, Adam."""
    x, y = load_levy(np.random.default_rng(0), "paper").train
    model = mlp([1, UNITS, 1], method, rng=np.random.default_rng(0))
    optimizer = Adam(model.parameters(), 1e-3, eps=1e-7)

    def step():
        optimizer.zero_grad()
        ops.mae(model(x), y).backward()
        optimizer.step()

    return step


def torch_levy_step(torch, variant):
    """The same step of GmP in eager PyTorch, with one of its forms of Adam."""
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


def torch_map(torch, theta, gradient, axis):
    """u(θ) and its gradient in PyTorch, by roll and cumprod as the authors' code has it.

    Parameters
    ----------
    torch : module
    theta, gradient : numpy.ndarray
        (O, n−1) and (O, n).
    axis : {0, 1}
        Along which the angles of a unit lie in PyTorch: 1, a unit a row, or 0, a unit a column,
        which is the layout of the authors' code.
    """
    arrays = (theta, gradient) if axis else (theta.T.copy(), gradient.T.copy())
    theta, gradient = torch.tensor(arrays[0], requires_grad=True), torch.tensor(arrays[1])
    one = torch.ones_like(theta.detach().narrow(axis, 0, 1))

    def forward_and_back():
        theta.grad = None
        cosines = torch.roll(torch.cat([one, torch.cos(theta)], dim=axis), -1, dims=axis)
        sines = torch.cumprod(torch.cat([one, torch.sin(theta)], dim=axis), dim=axis)
        (sines * cosines).backward(gradient)

    return forward_and_back


def levy_rows(torch, turns):
    """Rows for one training step under each method; PyTorch's fastest Adam beside GmP."""
    rows = []
    for method in ("SP", "WN", "BN", "GmP"):
        functions = {"ours": levy_step(method)}
        if torch is not None and method == "GmP":
            torch.set_num_threads(1)  # what is so small is fastest on one, theirs as ours
            for variant in ("foreach", "fused", None):
                chosen = {variant: True} if variant else {"foreach": False}
                functions[str(variant)] = torch_levy_step(torch, chosen)
        seconds = in_turns(functions, turns, repeats=200)
        ours = seconds.pop("ours")
        fastest = min(seconds.values(), key=np.median, default=None)
        theirs = ("", "") if fastest is None else (milliseconds(fastest), ratio(fastest, ours))
        rows.append((f"Levy step, {method}, float64", milliseconds(ours), *theirs))
    return rows


def map_rows(torch, turns):
    """Rows for u(θ) and its pullback, beside np.sin and np.cos, and PyTorch in two layouts."""
    rng = np.random.default_rng(0)
    theta = rng.uniform(0, np.pi, (MAP_SHAPE[0], MAP_SHAPE[1] - 1)).astype(np.float32)
    gradient = rng.normal(size=MAP_SHAPE).astype(np.float32)
    sine, cosine = np.empty_like(theta), np.empty_like(theta)

    def forward_and_back():
        kernel.direction(theta)
        kernel.direction_pullback(gradient, theta)

    def sine_and_cosine():
        np.sin(theta, out=sine)
        np.cos(theta, out=cosine)

    functions = {"ours": forward_and_back, "trigonometry": sine_and_cosine}
    if torch is not None:
        torch.set_num_threads(threads.count())
        for axis, layout in enumerate(("a unit a column, as the authors", "a unit a row")):
            functions[layout] = torch_map(torch, theta, gradient, axis)
    seconds = in_turns(functions, turns, repeats=3)
    ours, yardstick = seconds.pop("ours"), seconds.pop("trigonometry")
    name = f"u(θ) and pullback, {MAP_SHAPE}, float32"
    rows = [("np.sin and np.cos of as many angles", milliseconds(yardstick))]
    times = f"{np.median(ours / yardstick):.2f} times sin and cos"
    rows.append((name, milliseconds(ours), "", "", times))
    for layout, theirs in seconds.items():
        rows.append(("", "", milliseconds(theirs), ratio(theirs, ours), f"PyTorch, {layout}"))
    return rows


def import_row(turns):
    """Row for `import geonet`, less what starting Python takes."""
    seconds = in_turns(
        {
            name: lambda code=code: subprocess.run([sys.executable, "-c", code], check=True)
            for name, code in (("empty", ""), ("geonet", "import geonet"))
        },
        min(turns, 5),
        repeats=1,
    )
    return ("import geonet", milliseconds(seconds["geonet"] - seconds["empty"]))


def rows(torch, turns):
    """All rows of this part."""
    return [*levy_rows(torch, turns), *map_rows(torch, turns), import_row(turns)]
