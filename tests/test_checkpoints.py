"""Checkpoints: what goes in comes out, and what is not whole is refused by name."""

import errno
import hashlib
import io
import json
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geonet.train import CheckpointNotWritten, Checkpoints
from geonet.train import checkpoints as module


def some_state(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "model": {"steps.0.weight": rng.normal(size=(3, 4)), "empty": np.zeros((0, 2), np.float32)},
        "optimizer": {"lr": 0.1, "velocities": [rng.normal(size=5), np.array(3)]},
        "rng": rng.bit_generator.state,
        "words": ["Œ", None, True, float("inf"), float("nan"), {}],
        "seed": seed,
    }


def steps(folder):
    return sorted(int(path.stem.removeprefix("step-")) for path in folder.iterdir())


def with_digest(content):
    """A file's bytes, of which the last 64 become the SHA-256 of all before them."""
    return content[:-64] + hashlib.sha256(content[:-64]).hexdigest().encode()


def sealed(body, version=1):
    """A zip file's bytes with the comment that a checkpoint has."""
    file = io.BytesIO(body)
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = b"geonet checkpoint %d sha256 " % version + bytes(64)
    return with_digest(file.getvalue())


def archive_of(members, **options):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def npy_claiming(shape):
    """Three numbers that are said to be of some shape."""
    file = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + bytes(24)


def claiming_size(size):
    """An archive whose table of contents says so of its first member."""
    file = io.BytesIO(archive_of(GOOD))
    with zipfile.ZipFile(file, "a") as archive:
        archive.infolist()[0].file_size = archive.infolist()[0].compress_size = size
        archive.comment = b"?"  # or the table is not written again
    return file.getvalue()


def about(tree=None, step=1, **further):
    text = json.dumps({"step": step, "scores": [], "state": tree or {}} | further)
    return npy(np.frombuffer(text.encode(), np.uint8))


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
    assert np.array_equal(some_state()["model"]["steps.0.weight"], rng.normal(size=(3, 4)))
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


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": {"b": (1, 2)}}, "state/a/b must be made of .* but is a tuple"),
        ({"a": [0, np.array([None])]}, "state/a/1 must be made of .* but is a ndarray"),
        ({"a": {1: 2}}, "state/a: 1 cannot be a key"),
        ({"a/b": 2}, "state: 'a/b' cannot be a key"),
        ({"json": 2}, "state: 'json' cannot be a key"),
        ({"a": {"npy": "b"}}, "state/a: 'npy' cannot be a key"),
    ],
)
def test_what_cannot_be_saved_is_named_and_nothing_is_written(tmp_path, state, message):
    with pytest.raises(TypeError, match=message):
        Checkpoints(tmp_path).save(state, 1)
    assert steps(tmp_path) == []


def test_a_state_too_long_to_be_read_again_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_REST", 200)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"array": np.zeros(1000)}, 1)
    with pytest.raises(ValueError, match="more than the 200 allowed: long lists should be arrays"):
        checkpoints.save({"list": [0.0] * 100}, 2)
    assert steps(tmp_path) == [1]


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
    (tmp_path / "step-00000009.npz").write_bytes(b"broken")
    checkpoints.save({"new": True}, 3, score=0)
    assert steps(tmp_path) == [3]
    assert checkpoints.load() == ({"new": True}, 3)


def test_a_step_saved_again_is_replaced(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for score in (2, 1):
        checkpoints.save({"score": score}, 4, score)
    assert checkpoints.load() == ({"score": 1}, 4)
    assert checkpoints.scores == {4: 1}


def test_clear_removes_checkpoints_and_nothing_else(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "step-1.npz").write_text("mine too")
    (tmp_path / module.UNFINISHED).write_text("of a process that was killed")
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({}, 1)
    checkpoints.clear()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "step-1.npz"]
    assert checkpoints.load() is None


def test_a_missing_folder_holds_no_checkpoint_and_is_made_when_needed(tmp_path):
    checkpoints = Checkpoints(tmp_path / "deep" / "down")
    assert checkpoints.load() is None
    checkpoints.clear()
    checkpoints.save({}, 1)
    assert checkpoints.load() == ({}, 1)


def test_at_least_one_is_kept(tmp_path):
    with pytest.raises(ValueError, match="keep must be at least 1, but is 0"):
        Checkpoints(tmp_path, keep=0)


# What fails ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["write_array", "fsync", "replace"])
def test_a_disk_that_is_full_leaves_the_last_good_one(tmp_path, monkeypatch, place):
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(some_state(1), 1, score=1)

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    owner = {"write_array": np.lib.format, "fsync": os, "replace": Path}[place]
    with monkeypatch.context() as patch:
        patch.setattr(owner, place, full)
        with pytest.raises(CheckpointNotWritten, match=r"step-00000002\.npz: No space left"):
            checkpoints.save(some_state(2), 2, score=2)
    assert steps(tmp_path) == [1]
    assert checkpoints.scores == {1: 1}
    assert checkpoints.load()[0]["seed"] == 1
    checkpoints.save(some_state(3), 3)
    assert checkpoints.load()[0]["seed"] == 3


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no /dev/full")
def test_a_full_device_is_given_as_the_reason(tmp_path):
    (tmp_path / module.UNFINISHED).symlink_to("/dev/full")
    with pytest.raises(CheckpointNotWritten, match=r"No space left|Illegal seek"):
        Checkpoints(tmp_path).save(some_state(), 2)


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
    assert (tmp_path / module.UNFINISHED).exists()
    assert Checkpoints(tmp_path).load()[1] == 1
    checkpoints.save(some_state(2), 2)
    assert steps(tmp_path) == [1, 2]


GOOD = {"json.npy": about({"a": {"npy": "a"}}), "a.npy": npy(np.zeros(3))}


def changed(**members):
    return sealed(archive_of(GOOD | {f"{name}.npy": content for name, content in members.items()}))


REFUSED = {
    "an empty file": (b"", "cut short or from another program"),
    "a word": (b"PK", "cut short or from another program"),
    "an archive of NumPy's": (archive_of(GOOD), "cut short or from another program"),
    "a later version": (sealed(archive_of(GOOD), version=2), "has version 2, .* version 1"),
    "another name": (changed().replace(b"a.npy", b"b.npy"), "its digest does not match"),
    "compression": (sealed(archive_of(GOOD, compression=zipfile.ZIP_DEFLATED)), "is compressed"),
    "a pickle": (changed(a=npy(np.array([{}]), allow_pickle=True)), "object, but only numbers"),
    "words": (changed(a=npy(np.array(["a"]))), "holds <U1, but only numbers"),
    "a large array": (changed(a=npy_claiming((2**40,))), "does not match its header"),
    "a negative one": (changed(a=npy_claiming((-1, -3))), "negative dimensions"),
    "a small one": (changed(a=npy_claiming((2,))), "does not match its header"),
    "columns": (changed(a=npy(np.zeros((2, 3)).T)), "does not match its header"),
    "a large member": (sealed(claiming_size(2**50)), "its headers claim more bytes than it has"),
    "a new format": (changed(a=npy(np.zeros(3)).replace(b"\1", b"\3", 1)), "unknown format"),
    "no such array": (changed(json=about({"a": {"npy": "b"}})), "'b'"),
    "no JSON": (sealed(archive_of({"a.npy": GOOD["a.npy"]})), "'json'"),
    "broken JSON": (changed(json=npy(np.zeros(3, np.uint8))), "Expecting value|utf"),
    "another step": (changed(json=about(step=3)), "it is the checkpoint of step 3"),
    "deep nesting": (
        changed(json=npy(np.frombuffer(b'{"state":' + b"[" * 10**6, np.uint8))),
        "recursion|Expecting",
    ),
    "a flood of JSON": (
        changed(json=npy(np.full(module.LARGEST_REST + 1, ord(" "), np.uint8))),
        "its JSON has .* more than the",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_not_a_whole_checkpoint_is_refused_and_the_one_before_taken(tmp_path, name):
    content, reason = REFUSED[name]
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(some_state(), 0, score=0.5)
    path = tmp_path / "step-00000001.npz"
    path.write_bytes(changed())
    assert checkpoints.load()[1] == 1  # as it is taken where nothing is wrong
    path.write_bytes(content)
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.load()[1] == 0
    assert checkpoints.scores == {0: 0.5}
    (sentence,) = checkpoints.refused
    assert re.match(f"{re.escape(str(path))} cannot be used as a check.*: .*({reason})", sentence)


def test_what_is_not_a_file_or_too_large_is_refused_unread(tmp_path, monkeypatch):
    (tmp_path / "step-00000001.npz").mkdir()
    (tmp_path / "step-00000002.npz").write_bytes(changed())
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "step-00000003.npz")  # to open one would wait for ever
    monkeypatch.setattr(module, "LARGEST", 500)
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.load() is None
    assert "more than the 500 allowed" in checkpoints.refused[-2]
    assert "it is not a file" in checkpoints.refused[-1]
    assert checkpoints.load() is None
    assert len(checkpoints.refused) == len(list(tmp_path.iterdir()))


def test_no_bit_can_flip_unseen(tmp_path):
    path = tmp_path / "step-00000001.npz"
    path.write_bytes(changed())
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for place in (*rng.integers(0, len(whole), 60), *range(len(whole) - 110, len(whole), 5)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << rng.integers(8)
        path.write_bytes(flipped)
        checkpoints = Checkpoints(tmp_path)
        assert checkpoints.load() is None
        assert len(checkpoints.refused) == 1


def mutated(whole, rng):
    """The bytes with one to four injuries of the kinds that disks, networks and people inflict."""
    content = bytearray(whole)
    for _ in range(rng.integers(1, 5)):
        start, length = int(rng.integers(0, len(content) + 1)), int(rng.integers(1, 64))
        stretch = slice(start, start + length)
        match rng.integers(6):
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
    return bytes(content)


@pytest.mark.slow
@pytest.mark.parametrize("forged", [False, True])
@pytest.mark.parametrize("seed", range(200))
def test_an_injured_checkpoint_is_taken_whole_or_refused_by_name(tmp_path, seed, forged):
    checkpoints, state = Checkpoints(tmp_path), some_state()
    checkpoints.save(state, 1)
    path = tmp_path / "step-00000001.npz"
    whole = path.read_bytes()
    content = mutated(whole, np.random.default_rng(seed))
    if forged:  # with a digest that is right, so that the rest of the reader is tried too
        tail = len(b"geonet checkpoint 1 sha256 ") + 64
        content = mutated(whole[:-tail], np.random.default_rng(seed)) + whole[-tail:]
        content = with_digest(content)
    path.write_bytes(content)
    found = checkpoints.load()
    if found is None:
        assert len(checkpoints.refused) == 1
        assert checkpoints.refused[0].startswith(f"{path} cannot be used as a checkpoint: ")
    elif not forged:
        np.testing.assert_equal(found, (state, 1))
