"""What bench times is the work it says it times, ours and PyTorch's alike; the timings themselves
are not tested."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from geonet import Tensor, bench, environment, ops
from geonet.bench import convnets, inspector, memory, mlps, resnets, timing, torch_process, uci
from geonet.experiments.sets.drawn_pictures import write_pictures
from geonet.models import vgg6

ROOT = Path(__file__).parents[1]
KEPT = "MALLOC_TRIM_THRESHOLD_"


def given_to(monkeypatch, owner, name):
    """A list that holds the parameters of the last optimizer that was made by this name."""
    given, make = [], getattr(owner, name)

    def keep(parameters, *rest, **options):
        given[:] = parameters
        return make(list(given), *rest, **options)

    monkeypatch.setattr(owner, name, keep)
    return given


def leaves(monkeypatch, torch):
    """A list of the Tensors of PyTorch that are asked for gradients from now on."""
    found, ask = [], torch.Tensor.requires_grad_
    monkeypatch.setattr(torch.Tensor, "requires_grad_", lambda x: found.append(x) or ask(x))
    return found


def start_alike(torch, ours, theirs):
    """Give PyTorch's parameters the values of ours; filters are (O, C, kh, kw) over there."""
    with torch.no_grad():
        for parameter, tensor in zip(ours, theirs, strict=True):
            value = torch.tensor(parameter.data)
            if tensor.ndim == 4:
                value = value.reshape(len(value), *tensor.shape[2:], -1).permute(0, 3, 1, 2)
            tensor.copy_(value)


def assert_same_gradients(ours, theirs, tolerance):
    """Within a share of the largest entry of each."""
    for parameter, tensor in zip(ours, theirs, strict=True):
        gradient = tensor.grad.numpy()
        if gradient.ndim == 4:
            gradient = gradient.transpose(0, 2, 3, 1).reshape(len(gradient), -1)
        atol = tolerance * np.abs(gradient).max()
        assert atol > 0
        np.testing.assert_allclose(parameter.grad, gradient, rtol=0, atol=atol)


def test_functions_are_timed_in_turns_after_a_call_that_is_not_counted(monkeypatch):
    monkeypatch.setattr(timing, "WARMING", 0)
    calls = []
    functions = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    theirs = {"c": lambda repeats: calls.append("c" * repeats) or 7.0}
    seconds = timing.in_turns(functions, theirs, turns=2, repeats=3)
    assert "".join(calls) == "aaaabbbbccc" * 2
    assert {name: values.shape for name, values in seconds.items()} == dict.fromkeys("abc", (2,))
    assert list(seconds["c"]) == [7.0, 7.0]


def test_a_function_is_warmed_up_before_it_is_timed():
    start, calls = time.perf_counter(), []
    timing.seconds_a_call(lambda: calls.append(time.perf_counter()), repeats=1)
    assert calls[-1] - start >= timing.WARMING
    assert len(calls) > 2


@pytest.fixture
def small(monkeypatch):
    """A batch and a network of a size for tests."""
    monkeypatch.setattr(convnets, "WIDTHS", (4, 4, 5, 5, 6, 6))
    monkeypatch.setattr(convnets, "BATCH", 3)
    monkeypatch.setattr(convnets, "SIZE", 8)
    monkeypatch.setattr(convnets, "CLASSES", 7)
    monkeypatch.setattr(convnets, "SHAPES", ((2, 6, 6, 3, 4),))


def levy():
    return mlps.levy_step("GmP"), *mlps.levy_network("GmP")


def tabular():
    x, y = uci.batch(np.float64)
    return uci.step(np.float64), uci.network(np.float64), lambda model: ops.mae(model(x), y)


def pictures():
    x, labels = convnets.pictures(3)
    step = convnets.vgg_step("GmP+IMN", x, labels)
    sizes = {"widths": convnets.WIDTHS, "num_classes": convnets.CLASSES}
    model = vgg6("GmP+IMN", **sizes, rng=np.random.default_rng(0))
    return step, model, lambda model: ops.cross_entropy(model(x), labels)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("module", "optimizer", "make"),
    [(mlps, "Adam", levy), (uci, "Adam", tabular), (timing, "SGD", pictures)],
)
def test_a_step_is_a_training_step(module, optimizer, make, monkeypatch):
    given = given_to(monkeypatch, module, optimizer)
    step, model, loss = make()
    found = []
    for _ in range(2):
        for parameter, trained in zip(model.parameters(), given, strict=True):
            parameter.data[...] = trained.data
        found.append(loss(model).item())
        for _ in range(50):
            step()
    assert found[1] < found[0]


# The same work in PyTorch -------------------------------------------------------------------------


def test_pytorch_takes_the_same_step_of_the_levy_network(torch, monkeypatch):
    given = given_to(monkeypatch, torch.optim, "Adam")
    torch.manual_seed(0)
    step = mlps.torch_levy_step(torch, {"foreach": False})
    torch.manual_seed(0)  # its signs are those of what it draws first
    sign = torch.empty(mlps.UNITS, 1, dtype=torch.float64).uniform_(-0.2, 0.2).sign().numpy()
    model, loss = mlps.levy_network("GmP")
    start = {"theta": np.empty((mlps.UNITS, 0)), "sign": sign}
    start |= {name: tensor.detach().numpy() for name, tensor in zip(("lambda_", "radius"), given)}
    model[0].layer.parameterization.load_state_dict(start)
    rest = dict(zip(("weight", "bias"), (tensor.detach().numpy() for tensor in given[2:])))
    model[1].parameterization.load_state_dict(rest)
    loss(model).backward()
    step()
    ours = [parameter for parameter in model.parameters() if parameter.size]
    assert_same_gradients(ours, given, 1e-12)


@pytest.mark.parametrize("optimizer", list(uci.OPTIMIZERS))
def test_pytorch_takes_the_same_step_of_the_uci_network(torch, optimizer, monkeypatch):
    theirs = given_to(monkeypatch, torch.optim, "Adam")
    ours = given_to(monkeypatch, uci, "Adam")
    uci.torch_step(torch, np.float64, optimizer)()
    uci.step(np.float64)()
    assert_same_gradients(ours, theirs, 1e-9)
    for parameter, tensor in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(tensor.detach().numpy(), parameter.data, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("axis", [0, 1])
def test_pytorch_does_the_same_work_for_directions(torch, axis, monkeypatch):
    theirs = leaves(monkeypatch, torch)
    mlps.torch_map(torch, (3, 8), axis)()
    angles, gradient = mlps.map_arrays((3, 8))
    theta = Tensor(angles, requires_grad=True)
    ops.hyperspherical(theta).backward(gradient)
    if axis == 0:  # one unit per column
        theta.grad = theta.grad.T
    assert_same_gradients([theta], theirs, 1e-5)


@pytest.mark.parametrize("layout", convnets.LAYOUTS)
def test_pytorch_does_the_same_work_for_a_convolution(torch, layout, monkeypatch):
    shape = 2, 6, 5, 3, 4
    theirs = leaves(monkeypatch, torch)
    convnets.torch_convolution(torch, layout, shape)()
    x, weight, g = convnets.convolution_arrays(shape)
    ours = Tensor(x, requires_grad=True), Tensor(weight, requires_grad=True)
    ops.conv2d(*ours, None, 1, 1).backward(g)
    for tensor in ours:  # rows, as those of a layer
        tensor.grad = tensor.grad.reshape(len(tensor.grad), -1)
    assert_same_gradients(ours, theirs, 1e-5)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("method", ["SP", "GmP+IMN"])
@pytest.mark.parametrize("layout", convnets.LAYOUTS)
def test_pytorch_does_the_same_step_of_a_vgg(torch, method, layout, monkeypatch):
    ours, theirs = given_to(monkeypatch, timing, "SGD"), given_to(monkeypatch, torch.optim, "SGD")
    x, labels = convnets.pictures(3)
    step = convnets.vgg_step(method, x, labels)
    their_step = convnets.torch_vgg_step(torch, method, layout, x, labels)
    start_alike(torch, ours, theirs)
    step()
    their_step()
    assert_same_gradients(ours, theirs, 1e-4)


def test_pytorch_does_the_same_step_of_a_resnet(torch, monkeypatch):
    ours, theirs = given_to(monkeypatch, timing, "SGD"), given_to(monkeypatch, torch.optim, "SGD")
    x, labels = resnets.pictures(2, 32)
    step = resnets.resnet_step("BN", x, labels)
    their_step = resnets.torch_resnet_step(torch, "channels_last", x, labels)
    start_alike(torch, ours, theirs)
    step()
    their_step()
    chosen = [*range(2), *range(len(ours) - 30, len(ours))]  # rounding grows on the way to the stem
    assert_same_gradients([ours[i] for i in chosen], [theirs[i] for i in chosen], 1e-2)


def test_pillow_alone_gives_the_same_picture(tmp_path):
    write_pictures(tmp_path / "set", np.random.default_rng(0), training=1, validation=0, side=500)
    (path,) = (tmp_path / "set").rglob("*.JPEG")
    ours, alone = resnets.decode(path, 224), resnets.pillow_decode(path)
    assert ours.shape == alone.shape == (224, 224, 3)
    assert np.abs(ours.astype(int) - alone).max() <= 1


# The tables ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("part", "row"),
    [
        ("mlp", "Levy step, GmP"),
        ("conv", "VGG-6 step, GmP+IMN"),
        ("resnet", "ResNet-18 step, GmP+IMN"),
    ],
)
def test_without_pytorch_ours_stand_alone(part, row, monkeypatch, capsys):
    monkeypatch.setattr(torch_process, "torch_version", lambda: None)
    monkeypatch.setattr(memory, "rows", lambda *_: [("peak memory", "1 MB")])
    monkeypatch.setattr(mlps, "MAP_SHAPE", (4, 8))
    monkeypatch.setattr(inspector, "NETWORKS", {"3 units": ([2, 3, 1], 2)})
    monkeypatch.setattr(resnets, "SHAPES", ((2, 32),))
    monkeypatch.setattr(resnets, "CLASSES", 7)
    monkeypatch.setattr(resnets, "FILES", 3)
    bench.main(argparse.Namespace(part=part, turns=1))
    text = capsys.readouterr().out
    assert "PyTorch is not installed" in text
    assert row in text


HUNGRY = """
import numpy as np

def step(name, images):
    return lambda: np.ones(images * 2**20 * 20, np.uint8).sum()
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="Linux tells of its memory")
def test_the_memory_of_a_step_is_what_it_adds(tmp_path):
    (tmp_path / "hungry.py").write_text(HUNGRY)
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    result = subprocess.run(
        [sys.executable, "-m", "geonet.bench.memory", "hungry", "any", "5"],
        env=environment.without_ours() | {"PYTHONPATH": path},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert float(result.stdout) == pytest.approx(5 * 20, rel=0.1)


# PyTorch in its own process -----------------------------------------------------------------------


def work_of_a_user(torch, count):
    """For the process with PyTorch: fails where the environment is not the one of its users."""
    assert KEPT not in os.environ

    def work():
        assert torch.get_num_threads() == count

    return work


def test_pytorch_runs_in_the_environment_of_its_users(torch, monkeypatch):
    monkeypatch.setenv(KEPT, environment.KEEP_MEMORY[KEPT])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with torch_process.Peer(2) as process:
        assert 0 < process.function(work_of_a_user, 2)(3) < 60
        assert 0 < process.function(work_of_a_user, 1, threads=1)(3) < 60
    assert os.environ[KEPT] == environment.KEEP_MEMORY[KEPT]
    assert os.environ["OMP_NUM_THREADS"] == "1"


def test_what_users_set_is_kept_for_both(monkeypatch):
    for name in (*environment.KEEP_MEMORY, *environment.ONE_THREAD):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(KEPT, "7")
    monkeypatch.setenv("UNWANTED", "1")
    wanted = environment.wanted(3, ["UNWANTED"])
    assert (wanted[KEPT], wanted["GEONET_THREADS"], wanted["OMP_NUM_THREADS"]) == ("7", "3", "1")
    assert "UNWANTED" not in wanted
    monkeypatch.setattr(os, "environ", wanted)
    plain = environment.without_ours()
    assert plain[KEPT] == "7"
    assert not {"OMP_NUM_THREADS", "MALLOC_MMAP_THRESHOLD_"} & plain.keys()
