"""Both sides of the timed step do the same work: the same loss and gradients, the same network."""

import numpy as np
import pytest

from geonet import ops
from geonet.bench import uci


def inside(function):
    """The variables that a function brings along, by name."""
    cells = (cell.cell_contents for cell in function.__closure__)
    return dict(zip(function.__code__.co_freevars, cells))


def test_a_step_is_a_training_step():
    step, (x, y) = uci.step(np.float64), uci.batch(np.float64)
    model = inside(step)["model"]
    before = np.abs(model(x).data - y).mean()
    for _ in range(30):
        step()
    assert np.abs(model(x).data - y).mean() < before


@pytest.mark.parametrize("optimizer", list(uci.OPTIMIZERS))
def test_pytorch_takes_the_same_step(optimizer):
    torch = pytest.importorskip("torch")
    step = uci.torch_step(torch, np.float64, optimizer)
    known = inside(step)
    theirs = [known[name] for name in ("theta", "lambda_", "radius", "weight", "bias")]
    model, (x, y) = uci.network(np.float64), uci.batch(np.float64)
    ops.mae(model(x), y).backward()
    step()
    for parameter, tensor in zip(model.parameters(), theirs, strict=True):
        np.testing.assert_allclose(tensor.grad.numpy(), parameter.grad, rtol=1e-9, atol=1e-14)
    ours = uci.step(np.float64)
    ours()
    for parameter, tensor in zip(inside(ours)["model"].parameters(), theirs, strict=True):
        np.testing.assert_allclose(tensor.detach().numpy(), parameter.data, rtol=1e-9, atol=1e-9)
