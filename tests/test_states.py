"""Saved states: read back as they were, whole or refused, and readable without geonet."""

import os

import numpy as np
import pytest

from geonet import METHODS, models
from geonet.train import CheckpointNotWritten, Checkpoints, load_state, save_state


def mlp(method="BN", seed=0, **options):
    return models.mlp([3, 5, 2], method, rng=np.random.default_rng(seed), **options)


@pytest.mark.parametrize("method", METHODS)
def test_a_state_comes_back_as_it_was(tmp_path, method):
    model, other = mlp(method), mlp(method, seed=1)
    for array in (parameter.data for parameter in model.parameters()):
        array += 0.5
    save_state(tmp_path / "a" / "model.npz", model)
    load_state(str(tmp_path / "a" / "model.npz"), other)
    np.testing.assert_equal(other.state_dict(), model.state_dict())
    assert os.listdir(tmp_path / "a") == ["model.npz"]


def test_numpy_alone_reads_the_arrays(tmp_path):
    model = models.resnet18("BN", width=0.02, rng=np.random.default_rng(0))
    save_state(tmp_path / "model.npz", model)
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        found = {name: file[name] for name in file.files if name != "json"}
    np.testing.assert_equal(found, model.state_dict())


def test_the_eps_of_norms_comes_with_the_state(tmp_path):
    model, other = mlp(), mlp()
    model[0].normalization.eps = 1e-5
    save_state(tmp_path / "model.npz", model)
    load_state(tmp_path / "model.npz", other)
    assert other[0].normalization.eps == 1e-5


def test_what_is_not_this_models_state_is_refused_and_changes_nothing(tmp_path):
    path, model = tmp_path / "model.npz", mlp(seed=1)
    before = model.state_dict()
    with pytest.raises(ValueError, match=r"model.npz cannot be used as .* state: it is not a file"):
        load_state(path, model)
    for wrong, message in ((mlp("SP"), "izations, but differs in"), (mlp("LN"), "exactly this")):
        save_state(path, wrong)
        with pytest.raises(ValueError, match=message):
            load_state(path, model)
    np.savez(path, **before)
    with pytest.raises(ValueError, match=r"cannot be used as a saved state: .* another program"):
        load_state(path, model)
    Checkpoints(tmp_path).save({"model": before}, 1)
    with pytest.raises(ValueError, match="cannot be used as a saved state: 'eps'"):
        load_state(tmp_path / "step-00000001.npz", model)
    save_state(path, mlp())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="cannot be used as a saved state: it is cut short"):
        load_state(path, model)
    np.testing.assert_equal(model.state_dict(), before)


def test_a_disk_that_is_full_leaves_the_older_state(tmp_path, monkeypatch):
    path, model = tmp_path / "model.npz", mlp()
    save_state(path, model)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointNotWritten, match=r"model.npz: No space left"):
        save_state(path, mlp(seed=1))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.npz"]
