"""What bench times is the work it says it times; the timings themselves are nobody's test."""

import argparse
import os
import time

import numpy as np
import pytest

from geonet import bench, environment, ops
from geonet.bench import convnets, memory, mlps, peer, resnets, timing
from geonet.experiments.sets.drawn_pictures import write_pictures
from geonet.experiments.sets.levy import load_levy


def inside(function):
    """The variables that a function brings along, by name."""
    cells = (cell.cell_contents for cell in function.__closure__)
    return dict(zip(function.__code__.co_freevars, cells))


def test_functions_are_timed_in_turns_after_a_call_that_is_not_counted(monkeypatch):
    monkeypatch.setattr(timing, "WARMING", 0)
    calls = []
    functions = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    theirs = {"c": lambda repeats: calls.append("c" * repeats) or 7.0}
    seconds = timing.in_turns(functions, theirs, turns=2, repeats=3)
    assert "".join(calls) == "aaaabbbbccc" * 2
    assert {name: values.shape for name, values in seconds.items()} == dict.fromkeys("abc", (2,))
    assert list(seconds["c"]) == [7.0, 7.0]


def test_what_is_timed_runs_a_while_before():
    start, calls = time.perf_counter(), []
    timing.seconds_a_call(lambda: calls.append(time.perf_counter()), repeats=1)
    assert calls[-1] - start >= timing.WARMING
    assert len(calls) > 2


def test_a_step_is_a_training_step():
    step = mlps.levy_step("GmP")
    x, y = load_levy(np.random.default_rng(0), "paper").train
    model = inside(step)["model"]
    before = np.abs(model(x).data - y).mean()
    for _ in range(50):
        step()
    assert np.abs(model(x).data - y).mean() < before


@pytest.mark.parametrize("axis", [0, 1])
def test_pytorch_does_the_same_work_for_directions(axis):
    torch = pytest.importorskip("torch")
    work = mlps.torch_map(torch, (3, 8), axis)
    work()
    theta, gradient = mlps.map_arrays((3, 8))
    ours = mlps.kernel.direction_pullback(gradient, theta)
    theirs = inside(work)["theta"].grad.numpy()
    np.testing.assert_allclose(theirs if axis else theirs.T, ours, atol=1e-5)


@pytest.fixture
def small(monkeypatch):
    """A batch and a network of a size for tests."""
    monkeypatch.setattr(convnets, "WIDTHS", (4, 4, 5, 5, 6, 6))
    monkeypatch.setattr(convnets, "BATCH", 3)
    monkeypatch.setattr(convnets, "SIZE", 8)
    monkeypatch.setattr(convnets, "CLASSES", 7)
    monkeypatch.setattr(convnets, "SHAPES", ((2, 6, 6, 3, 4),))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("method", ["SP", "GmP+IMN"])
@pytest.mark.parametrize("layout", ["channels_last", "contiguous_format"])
def test_pytorch_does_the_same_step_of_a_vgg(method, layout):
    torch = pytest.importorskip("torch")
    x, labels = convnets.pictures(3)
    ours = inside(convnets.vgg_step(method, x, labels))["model"]
    step = convnets.torch_vgg_step(torch, method, layout, x, labels)
    theirs = [*(p for _, found in inside(step)["layers"] for p in found)]
    theirs += inside(step)["output"].parameters()
    parameters = dict(ours.named_parameters())
    order = ("theta", "lambda_", "radius") if method != "SP" else ("weight", "bias")
    names = [f"steps.{i}.layer.parameterization.{q}" for i in (0, 1, 3, 4, 6, 7) for q in order]
    last = next(name for name in parameters if name.startswith("steps.10"))
    names += [last, last.replace("weight", "bias")]
    assert sorted(names) == sorted(parameters)
    with torch.no_grad():
        for name, tensor in zip(names, theirs, strict=True):
            value = torch.tensor(parameters[name].data)
            if tensor.ndim == 4:  # (O, C, kh, kw)
                value = value.reshape(len(value), 3, 3, -1).permute(0, 3, 1, 2)
            tensor.copy_(value)
    step()  # leaves the gradients of the step in place
    loss = ops.cross_entropy(ours(x), labels)
    loss.backward()
    for name, tensor in zip(names, theirs, strict=True):
        gradient = tensor.grad.numpy()
        if gradient.ndim == 4:
            gradient = gradient.transpose(0, 2, 3, 1).reshape(len(gradient), -1)
        scale = np.abs(gradient).max()
        np.testing.assert_allclose(parameters[name].grad, gradient, rtol=0, atol=1e-4 * scale)


def test_pillow_alone_gives_the_same_picture(tmp_path):
    write_pictures(tmp_path / "set", np.random.default_rng(0), training=1, validation=0, side=500)
    (path,) = (tmp_path / "set").rglob("*.JPEG")
    ours, alone = resnets.decode(path, 224), resnets.pillow_decode(path)
    assert ours.shape == alone.shape == (224, 224, 3)
    assert np.abs(ours.astype(int) - alone).max() <= 1


def test_pytorch_does_the_same_step_of_a_resnet():
    torch = pytest.importorskip("torch")
    x, labels = resnets.pictures(2, 32)
    ours = inside(resnets.resnet_step("BN", x, labels))["model"]
    step = resnets.torch_resnet_step(torch, "channels_last", x, labels)
    pairs = list(zip(ours.parameters(), inside(step)["model"].parameters(), strict=True))
    with torch.no_grad():
        for parameter, tensor in pairs:
            value = torch.tensor(parameter.data)
            if tensor.ndim == 4:  # (O, C, kh, kw)
                value = value.reshape(len(value), *tensor.shape[2:], -1).permute(0, 3, 1, 2)
            tensor.copy_(value)
    step()  # leaves the gradients of the step in place
    ops.cross_entropy(ours(x), labels).backward()
    for parameter, tensor in pairs[:2] + pairs[-30:]:  # rounding grows on the way to the stem
        gradient = tensor.grad.numpy()
        if gradient.ndim == 4:
            gradient = gradient.transpose(0, 2, 3, 1).reshape(len(gradient), -1)
        scale = np.abs(gradient).max()
        np.testing.assert_allclose(parameter.grad, gradient, rtol=0, atol=1e-2 * scale)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("part", ["mlp", "conv", "resnet"])
def test_without_pytorch_ours_stand_alone(part, monkeypatch, capsys):
    monkeypatch.setattr(peer, "torch_version", lambda: None)
    monkeypatch.setattr(memory, "_in_a_process", lambda module, name, images: 1.0)
    monkeypatch.setattr(mlps, "MAP_SHAPE", (4, 8))
    monkeypatch.setattr(resnets, "SHAPES", ((2, 32),))
    monkeypatch.setattr(resnets, "CLASSES", 7)
    monkeypatch.setattr(resnets, "FILES", 3)
    bench.main(argparse.Namespace(part=part, turns=1))
    text = capsys.readouterr().out
    assert "PyTorch is not installed" in text
    rows = {
        "mlp": "Levy step, GmP",
        "conv": "VGG-6 step, GmP+IMN",
        "resnet": "ResNet-18 step, GmP+IMN",
    }
    assert rows[part] in text


@pytest.mark.usefixtures("small")
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="Linux tells of its memory")
def test_the_memory_of_a_step_is_what_it_adds(monkeypatch):
    monkeypatch.setattr(memory, "_resident", lambda which: {"VmRSS": 70.0, "VmHWM": 100.0}[which])
    assert memory.measure(convnets, "GmP", 2) == 30.0


def counter(torch, start):
    """For the process of the peer: a function without a use for PyTorch."""
    numbers = [start]
    return lambda: numbers.append(torch.get_num_threads() + os.environ.get(KEPT, 0))


KEPT = "MALLOC_TRIM_THRESHOLD_"


def test_pytorch_runs_in_the_environment_of_its_users(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setenv(KEPT, environment.KEEP_MEMORY[KEPT])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with peer.Peer(2) as process:
        seconds = process.function(counter, 1)
        assert 0 < seconds(3) < 60  # with the variable set, a number and a text are added
    assert os.environ[KEPT] == environment.KEEP_MEMORY[KEPT]
    assert os.environ["OMP_NUM_THREADS"] == "1"


def test_what_users_set_is_kept_from_neither(monkeypatch):
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
