"""What bench times is the work it says it times; the timings themselves are nobody's test."""

import argparse

import numpy as np
import pytest

from geonet import bench
from geonet.data.levy import load_levy


def test_functions_are_timed_in_turns_after_one_turn_to_warm_up():
    calls = []
    functions = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    seconds = bench.in_turns(functions, turns=2, repeats=3)
    assert "".join(calls) == "aaabbb" * 3
    assert {name: values.shape for name, values in seconds.items()} == {"a": (2,), "b": (2,)}


def test_a_step_is_a_training_step():
    step = bench.levy_step("GmP")
    x, y = load_levy(np.random.default_rng(0), "paper").train
    cells = dict(zip(step.__code__.co_freevars, (c.cell_contents for c in step.__closure__)))
    before = np.abs(cells["model"](x).data - y).mean()
    for _ in range(50):
        step()
    assert np.abs(cells["model"](x).data - y).mean() < before


@pytest.mark.parametrize("axis", [0, 1])
def test_pytorch_does_the_same_work(axis):
    torch = pytest.importorskip("torch")
    theta = np.random.default_rng(0).uniform(0, np.pi, (3, 7)).astype(np.float32)
    gradient = np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32)
    work = bench.torch_map(torch, theta, gradient, axis)
    work()
    cells = dict(zip(work.__code__.co_freevars, (c.cell_contents for c in work.__closure__)))
    _, saved = bench.kernel.direction(theta)
    ours = bench.kernel.direction_pullback(gradient, saved)
    theirs = cells["theta"].grad.numpy()
    np.testing.assert_allclose(theirs if axis else theirs.T, ours, atol=1e-5)


def test_without_pytorch_ours_stand_alone(monkeypatch, capsys):
    monkeypatch.setattr(bench, "_torch", lambda: None)
    monkeypatch.setattr(bench, "MAP_SHAPE", (4, 8))
    bench.main(argparse.Namespace(turns=1, threads=1))
    text = capsys.readouterr().out
    assert "PyTorch is not installed" in text
    assert "Levy step, GmP" in text
