"""Checkpoints and saved states: what goes in comes out, what is not whole is refused by name."""

import errno
import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geonet import METHODS, models
from geonet.nn import Module, Parameter
from geonet.train import CheckpointNotWritten, Checkpoints, load_state, save_state


def some_state(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "model": {
            "steps.0.weight": rng.normal(size=(30, 40)),
            "empty": np.zeros((0, 2), np.float32),
        },
        "optimizer": {"lr": 0.1, "velocities": [rng.normal(size=5), np.array(3)]},
        "rng": rng.bit_generator.state,
        "words": ["Œ", None, True, float("inf"), float("nan"), {}],
        "seed": seed,
    }


def steps(folder):
    return sorted(int(path.stem.removeprefix("step-")) for path in folder.iterdir())


# What goes in comes out ---------------------------------------------------------------------------


def test_a_state_comes_back_with_every_value_and_type(tmp_path):
    state = some_state()
    Checkpoints(tmp_path).save(state, 7)
    found, step = Checkpoints(tmp_path).load()
    np.testing.assert_equal(found, state)
    assert step == 7
    arrays = found["model"]["empty"], found["optimizer"]["velocities"][1]
    assert [(a.dtype, a.shape) for a in arrays] == [(np.float32, (0, 2)), (np.int64, ())]
    assert all(array.flags.writeable for array in found["model"].values())
    other, rng = (np.random.default_rng(seed) for seed in (5, 0))
    other.bit_generator.state = found["rng"]
    assert np.array_equal(some_state()["model"]["steps.0.weight"], rng.normal(size=(30, 40)))
    rng.normal(size=5)
    assert other.random() == rng.random()


arrays = st.builds(
    lambda kind, shape: np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(kind),
    st.sampled_from(["?", "i1", "u8", ">f4", "f8", "c16"]),
    st.lists(st.integers(0, 3), max_size=3),
)
numbers = st.booleans() | st.integers(-(2**200), 2**200) | st.floats()
leaves = st.none() | numbers | st.text(max_size=5) | arrays
keys = st.text(st.characters(exclude_characters="/", codec="utf-8"), max_size=3)
trees = st.recursive(
    leaves,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(keys, below, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(keys, trees, max_size=4), st.integers(0, 10**12))
def test_any_state_comes_back(tmp_path_factory, state, step):
    checkpoints = Checkpoints(tmp_path_factory.mktemp("any"))
    checkpoints.save(state, step)
    np.testing.assert_equal(checkpoints.load(), (state, step))
    assert checkpoints.refused == []


def test_numpy_reads_the_arrays_under_their_paths(tmp_path):
    state = some_state()
    Checkpoints(tmp_path).save(state, 12)
    with np.load(tmp_path / "step-00000012.npz") as arrays:
        expected = state["model"]["steps.0.weight"]
        assert np.array_equal(arrays["model/steps.0.weight"], expected)
        assert "optimizer/velocities/1" in arrays


def test_arrays_by_columns_and_numbers_of_numpy_come_back_as_equals(tmp_path):
    columns = np.arange(6.0).reshape(2, 3).T
    Checkpoints(tmp_path).save({"a": columns, "b": np.float32(0.5), "c": columns[::2]}, 1)
    found, _ = Checkpoints(tmp_path).load()
    assert np.array_equal(found["a"], columns)
    assert np.array_equal(found["c"], columns[::2])
    assert found["b"] == 0.5


def test_files_with_a_digest_in_their_comment_are_still_read(tmp_path):
    state = some_state()
    Checkpoints(tmp_path).save(state, 1)
    with zipfile.ZipFile(tmp_path / "step-00000001.npz", "a") as archive:
        archive.comment = b"geonet checkpoint 1 sha256 " + b"0" * 64
    np.testing.assert_equal(Checkpoints(tmp_path).load(), (state, 1))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": {"b": (1, 2)}}, "state/a/b must be made of .* but is a tuple"),
        ({"a": [0, np.array([None])]}, "state/a/1 must be made of .* but is a ndarray"),
        ({"a": {1: 2}}, "state/a: 1 cannot be a key"),
        ({"a/b": 2}, "state: 'a/b' cannot be a key"),
        ({"json": 2}, "state: 'json' cannot be a key"),
        ({"file": np.ones(2)}, "state: 'file' cannot be a key"),
        ({"a": {"npy": "b"}}, "state/a: 'npy' cannot be a key"),
    ],
)
def test_what_cannot_be_saved_is_named_and_nothing_is_written(tmp_path, state, message):
    with pytest.raises(TypeError, match=message):
        Checkpoints(tmp_path).save(state, 1)
    assert steps(tmp_path) == []


# What is kept -------------------------------------------------------------------------------------


def test_the_last_ones_and_the_best_are_kept_across_programs(tmp_path):
    scores = [0.1, 0.9, float("nan"), 0.3, None, 0.9, 0.2, 0.1]
    for step, score in enumerate(scores):
        checkpoints = Checkpoints(tmp_path, keep=2)
        checkpoints.load()
        checkpoints.save({}, step, score)
    assert steps(tmp_path) == [1, 6, 7]
    assert checkpoints.scores == {1: 0.9, 6: 0.2, 7: 0.1}
    checkpoints.save({}, 8, 1.0)
    assert steps(tmp_path) == [7, 8]


def test_later_ones_go_when_training_takes_another_course(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    for step in (1, 5):
        checkpoints.save({}, step, score=step)
    cut = tmp_path / "step-00000009.npz"
    cut.write_bytes((tmp_path / "step-00000005.npz").read_bytes()[:-9])
    checkpoints.save({"new": True}, 3, score=0)
    assert steps(tmp_path) == [3]
    assert checkpoints.load() == ({"new": True}, 3)


def test_a_step_saved_again_is_replaced(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for score in (2, 1):
        checkpoints.save({"score": score}, 4, score)
    assert checkpoints.load() == ({"score": 1}, 4)
    assert checkpoints.scores == {4: 1}


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_clear_removes_checkpoints_and_what_kills_left_of_some(tmp_path):
    (tmp_path / "step-00000002.npz.part").write_text("of an earlier version that was killed")
    (tmp_path / ".step-00000003.npz.4242").write_bytes(b"")
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({}, 1)
    cut = (tmp_path / "step-00000001.npz").read_bytes()[:700]
    (tmp_path / "step-00000004.npz").write_bytes(cut)
    checkpoints.clear()
    assert os.listdir(tmp_path) == []
    assert checkpoints.load() is None


FOREIGN = {
    "step-00000000.npz": b"results of another program",
    "step-00000009.npz": b"",
    "step-00000008.npz": npz(weight=np.ones(3)),
    "step-1.npz": b"mine",
    "step-00000005.npz.txt": b"mine",
    ".step-00000005.npz.bak": b"mine",
    "step-best.npz.part": b"mine",
    "movie.part": b"mine",
}


def test_files_that_are_no_checkpoints_stay_whatever_they_are_called(tmp_path):
    for name, content in FOREIGN.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "step-00000006.npz").mkdir()
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.write_bytes(b"elsewhere")
    (tmp_path / "step-00000007.npz").symlink_to(outside)
    checkpoints = Checkpoints(tmp_path, keep=1)
    for step in (1, 2):
        checkpoints.save({"step": step}, step)
    for step in (0, 6, 7, 8, 9):
        with pytest.raises(CheckpointNotWritten, match=rf"step-0*{step}\.npz is there and is not"):
            checkpoints.save({}, step)
    assert checkpoints.load() == ({"step": 2}, 2)
    checkpoints.clear()
    assert {p.name: p.read_bytes() for p in tmp_path.glob("*[!67].*")} == FOREIGN
    assert (tmp_path / "step-00000006.npz").is_dir()
    assert outside.read_bytes() == b"elsewhere"


def test_checkpoints_whose_record_stands_last_are_still_known(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    for step in (1, 2):
        checkpoints.save({"a": np.ones(3)}, step)
        path = tmp_path / f"step-{step:08}.npz"
        with np.load(path) as file:
            path.write_bytes(npz(a=file["a"], json=file["json"]))
    checkpoints.save({}, 3)
    assert steps(tmp_path) == [3]


def test_a_missing_folder_holds_no_checkpoint_and_is_made_when_needed(tmp_path):
    checkpoints = Checkpoints(tmp_path / "deep" / "down")
    assert checkpoints.load() is None
    checkpoints.clear()
    checkpoints.save({}, 1)
    assert checkpoints.load() == ({}, 1)


def test_at_least_one_is_kept(tmp_path):
    with pytest.raises(ValueError, match="keep must be a whole number of at least 1, but is 0"):
        Checkpoints(tmp_path, keep=0)


# What fails ---------------------------------------------------------------------------------------


def full(*arguments, **options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("place", ["savez", "fsync", "replace"])
def test_a_disk_that_is_full_leaves_the_last_good_one(tmp_path, monkeypatch, place):
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(some_state(1), 1, score=1)
    owner = {"savez": np, "fsync": os, "replace": Path}[place]
    with monkeypatch.context() as patch:
        patch.setattr(owner, place, full)
        with pytest.raises(CheckpointNotWritten, match=r"step-00000002\.npz: No space left"):
            checkpoints.save(some_state(2), 2, score=2)
    assert steps(tmp_path) == [1]
    assert checkpoints.scores == {1: 1}
    assert checkpoints.load()[0]["seed"] == 1
    checkpoints.save(some_state(3), 3)
    assert checkpoints.load()[0]["seed"] == 3


def fill_disk(monkeypatch, folder, room):
    """Let the files of a folder have no room for more than some number of bytes."""
    savez = np.savez

    def save(file, **arrays):
        savez(file, **arrays)
        file.flush()
        if sum(path.stat().st_size for path in folder.iterdir()) > room:
            full()

    monkeypatch.setattr(np, "savez", save)


@pytest.mark.parametrize(
    ("scores", "left"),
    [([None, None, None], [2, 3, 4]), ([9, 2, 3], [1, 3, 4]), ([1, 2, 9], [2, 3, 4])],
)
def test_the_oldest_gives_way_on_a_full_disk_and_the_best_last(tmp_path, monkeypatch, scores, left):
    checkpoints = Checkpoints(tmp_path)
    for step, score in enumerate(scores, start=1):
        checkpoints.save(some_state(step), step, score)
    size = (tmp_path / "step-00000001.npz").stat().st_size
    fill_disk(monkeypatch, tmp_path, 3.5 * size)
    checkpoints.save(some_state(4), 4)
    assert steps(tmp_path) == left
    assert set(checkpoints.scores) == {s for s, x in enumerate(scores, 1) if x and s in left}
    np.testing.assert_equal(Checkpoints(tmp_path).load(), (some_state(4), 4))


def test_the_last_whole_one_never_gives_way(tmp_path, monkeypatch):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save(some_state(step), step)
    path = tmp_path / "step-00000002.npz"
    path.write_bytes(path.read_bytes()[:-100])
    fill_disk(monkeypatch, tmp_path, 0)
    for _ in range(3):
        with pytest.raises(CheckpointNotWritten, match=r"step-00000003\.npz: No space left"):
            checkpoints.save(some_state(3), 3)
    assert steps(tmp_path) == [1]
    assert checkpoints.load()[1] == 1


@pytest.mark.skipif(os.name == "nt", reason="no limits on the size of files")
def test_a_file_too_large_for_the_system_is_given_as_the_reason(tmp_path):
    code = (
        "import resource, signal, sys, numpy as np; from geonet.train import Checkpoints\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))\n"
        "Checkpoints(sys.argv[1]).save({'a': np.ones(4096)}, 2)"
    )
    found = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert "step-00000002.npz: File too large" in found.stderr
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_given_as_the_reason(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointNotWritten, match=r"Not a directory|File exists"):
        Checkpoints(tmp_path / "file").save({}, 2)


def test_a_process_killed_while_writing_leaves_the_last_good_one(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def kill(*arguments):
        raise Killed

    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(some_state(1), 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", kill)
        with pytest.raises(Killed):
            checkpoints.save(some_state(2), 2)
    assert Checkpoints(tmp_path).load()[1] == 1
    checkpoints.save(some_state(2), 2)
    assert steps(tmp_path) == [1, 2]


class Bomb:
    """What must never be unpickled: it makes a file in the working folder."""

    def __reduce__(self):
        return Path.touch, (Path("exploded"),)


def whole_checkpoint(folder):
    Checkpoints(folder).save(some_state(), 1)
    return (folder / "step-00000001.npz").read_bytes()


REFUSED = {
    "an empty file": lambda whole: b"",
    "a text": lambda whole: b"these are no numbers\n" * 100,
    "half a file": lambda whole: whole[: len(whole) // 2],
    "a file without its last byte": lambda whole: whole[:-1],
    "zeros": lambda whole: bytes(len(whole)),
    "an array alone": lambda whole: npz(a=np.ones(3))[30:],
    "arrays of another program": lambda whole: npz(a=np.ones(3)),
    "a record that is not JSON": lambda whole: npz(json=np.zeros(9, np.uint8)),
    "a record of another kind": lambda whole: npz(json=np.frombuffer(b'{"eps": {}}', np.uint8)),
    "a record of words": lambda whole: npz(json=np.array(["{}"])),
    "a record too deep": lambda whole: npz(json=np.full(10**6, ord("["), np.uint8)),
    "a pickle": lambda whole: pickle.dumps(Bomb()),
    "a pickle in an array": lambda whole: npz(json=np.array([Bomb()], object)),
    "a smaller shape": lambda whole: whole.replace(b"(30, 40)", b"(30, 30)"),
    "another type of numbers": lambda whole: whole.replace(b"<f8", b"<i8"),
    "another name": lambda whole: whole.replace(b"steps.0.weight", b"steps.1.weight"),
    "a missing array": lambda whole: npz(json=np.load(io.BytesIO(whole))["json"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_not_a_whole_checkpoint_is_refused_and_the_one_before_taken(
    tmp_path, name, monkeypatch
):
    whole = whole_checkpoint(tmp_path)
    monkeypatch.chdir(tmp_path)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"seed": 5}, 0, score=0.5)
    path = tmp_path / "step-00000001.npz"
    path.write_bytes(whole)
    assert checkpoints.load()[1] == 1  # as it is taken where nothing is wrong
    path.write_bytes(REFUSED[name](whole))
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.load() == ({"seed": 5}, 0)
    assert checkpoints.scores == {0: 0.5}
    (sentence,) = checkpoints.refused
    assert sentence.startswith(f"{path} cannot be used as a checkpoint, because it is")
    assert not Path("exploded").exists()


def test_a_folder_with_the_name_of_a_checkpoint_is_refused(tmp_path):
    (tmp_path / "step-00000001.npz").mkdir()
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.load() is None
    assert len(checkpoints.refused) == 1


def assert_whole_or_refused(folder, content):
    """Check that a checkpoint with these bytes is read as `some_state()` or refused by name."""
    path = folder / "step-00000001.npz"
    path.write_bytes(content)
    checkpoints = Checkpoints(folder)
    found = checkpoints.load()
    if found is None:
        (sentence,) = checkpoints.refused
        assert sentence.startswith(f"{path} cannot be used as a checkpoint, because it is")
    else:
        np.testing.assert_equal(found, (some_state(), 1))
    return found is None


def test_no_bit_flips_unseen_in_an_array_or_the_record(tmp_path):
    whole, rng = whole_checkpoint(tmp_path), np.random.default_rng(0)
    with zipfile.ZipFile(tmp_path / "step-00000001.npz") as archive:
        members = [(archive.read(member), member.filename) for member in archive.infolist()]
    for content, name in members:
        start = whole.index(content)
        for place in start + rng.integers(0, len(content), 5):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << rng.integers(8)
            assert assert_whole_or_refused(tmp_path, flipped), name


def mutated(whole, rng):
    """The bytes with one to four injuries of the kinds that disks, networks and people inflict."""
    content = bytearray(whole)
    for _ in range(rng.integers(1, 5)):
        start, length = int(rng.integers(0, len(content) + 1)), int(rng.integers(1, 64))
        stretch = slice(start, start + length)
        match rng.integers(7):
            case 0:
                del content[start:]
            case 1:
                del content[stretch]
            case 2:
                content[start:start] = rng.bytes(length)
            case 3:
                content[stretch] = rng.bytes(len(content[stretch]))
            case 4:
                content[stretch] = bytes(len(content[stretch]))
            case 5:
                content[start:start] = content[stretch]
            case 6:
                for place in rng.integers(0, max(len(content), 1), 4 * bool(content)):
                    content[place] ^= 1 << rng.integers(8)
    return bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(200))
def test_an_injured_checkpoint_is_taken_whole_or_refused_by_name(tmp_path, seed):
    whole = whole_checkpoint(tmp_path)
    assert_whole_or_refused(tmp_path, mutated(whole, np.random.default_rng(seed)))


# Saved states -------------------------------------------------------------------------------------


def mlp(method="BN", seed=0, **options):
    return models.mlp([3, 5, 2], method, rng=np.random.default_rng(seed), **options)


@pytest.mark.parametrize("method", METHODS)
def test_a_saved_state_comes_back_as_it_was(tmp_path, method):
    model, other = mlp(method), mlp(method, seed=1)
    for array in (parameter.data for parameter in model.parameters()):
        array += 0.5
    save_state(tmp_path / "a" / "model.npz", model)
    load_state(str(tmp_path / "a" / "model.npz"), other)
    np.testing.assert_equal(other.state_dict(), model.state_dict())
    assert os.listdir(tmp_path / "a") == ["model.npz"]


@pytest.mark.parametrize("name", ["json", "file"])
def test_a_parameter_that_could_not_be_read_again_is_refused_by_name(tmp_path, name):
    module = Module()
    setattr(module, name, Parameter(np.ones(2)))
    with pytest.raises(TypeError, match=f"an array cannot be called '{name}'"):
        save_state(tmp_path / "state.npz", module)


def test_numpy_alone_reads_the_arrays_of_a_saved_state(tmp_path):
    model = models.resnet18("BN", width=0.02, rng=np.random.default_rng(0))
    save_state(tmp_path / "model.npz", model)
    with np.load(tmp_path / "model.npz", allow_pickle=False) as file:
        found = {name: file[name] for name in file.files if name != "json"}
    np.testing.assert_equal(found, model.state_dict())


def test_the_eps_of_norms_comes_with_a_saved_state(tmp_path):
    model, other = mlp(), mlp()
    model[0].normalization.eps = 1e-5
    save_state(tmp_path / "model.npz", model)
    load_state(tmp_path / "model.npz", other)
    assert other[0].normalization.eps == 1e-5


def test_what_is_not_this_models_state_is_refused_and_changes_nothing(tmp_path):
    path, model = tmp_path / "model.npz", mlp(seed=1)
    before = model.state_dict()
    refused = r"model.npz cannot be used as a saved state, because it is .* \({}: "
    with pytest.raises(ValueError, match=refused.format("FileNotFoundError")):
        load_state(path, model)
    for wrong, message in ((mlp("SP"), "eps of normalizations must"), (mlp("LN"), "exactly this")):
        save_state(path, wrong)
        with pytest.raises(ValueError, match=message):
            load_state(path, model)
    np.savez(path, **before)
    with pytest.raises(ValueError, match=refused.format("KeyError")):
        load_state(path, model)
    Checkpoints(tmp_path).save({"model": before}, 1)
    with pytest.raises(ValueError, match="cannot be used as a saved state"):
        load_state(tmp_path / "step-00000001.npz", model)
    save_state(path, mlp())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=refused.format("BadZipFile")):
        load_state(path, model)
    np.testing.assert_equal(model.state_dict(), before)


def test_a_disk_that_is_full_leaves_the_older_state(tmp_path, monkeypatch):
    path, model = tmp_path / "model.npz", mlp()
    save_state(path, model)
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointNotWritten, match=r"model.npz: No space left"):
        save_state(path, mlp(seed=1))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.npz"]
