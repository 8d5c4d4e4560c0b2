"""What every reader of data says when the system fails, and when the contents are wrong."""

import errno
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from picture_helpers import smooth
from PIL import Image

from geonet.data import image_files
from geonet.data.decoding import decode
from geonet.data.pickles import read_pickle
from geonet.data.reading import reading
from geonet.data.tables import read_numbers
from geonet.experiments.sets.banana import read_banana


class Wrong(ValueError):
    """What readers raise for wrong contents."""


def read(error):
    with reading("a.txt", lambda path, error: Wrong(f"{path}: {error}")):
        raise error


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES, errno.EMFILE, errno.EIO])
def test_an_error_of_the_system_stays_and_names_the_file(number):
    for given, named in ((None, "a.txt"), ("b.txt", "b.txt")):
        error = OSError(number, os.strerror(number), given)
        with pytest.raises(type(error)) as caught:
            read(error)
        assert caught.value is error
        assert str(error) == f"[Errno {number}] {os.strerror(number)}: '{named}'"


def test_a_lack_of_memory_stays_one_and_names_the_file():
    for error, words in ((MemoryError(), "not enough memory"), (MemoryError("1 TiB"), "1 TiB")):
        with pytest.raises(MemoryError, match=f"^a.txt: {words}"):
            read(error)


@pytest.mark.parametrize(
    "error", [ValueError("odd"), OSError("truncated"), OSError(errno.EINVAL, "odd"), KeyError(3)]
)
def test_any_other_error_is_one_of_the_contents(error):
    with pytest.raises(Wrong, match=r"^a\.txt: ") as caught:
        read(error)
    assert caught.value.__cause__ is error


@pytest.fixture
def readers(tmp_path):
    """A function that reads a file of its kind, by the name of the file."""
    smooth(40, 30).save(tmp_path / "a.jpeg")
    pixels = np.zeros((2, 3072), np.uint8)
    np.savez(tmp_path / "a.npz", data=pixels, labels=[1, 2])
    (tmp_path / "a.pickle").write_bytes(pickle.dumps(pixels))
    (tmp_path / "a.txt").write_text("1 2\n", encoding="utf-8")
    rows = "At1,At2,Class\n" + "1,2,1\n" * 1000
    (tmp_path / "a.csv").write_text(rows, encoding="utf-8")
    found = {
        "a.jpeg": lambda path: decode(path, 8),
        "a.npz": image_files._read_npz,
        "a.pickle": read_pickle,
        "a.txt": read_numbers,
        "a.csv": read_banana,
    }
    for name, read in found.items():
        read(tmp_path / name)  # also imports what it needs
    return found


NAMES = "a.jpeg", "a.npz", "a.pickle", "a.txt", "a.csv"


@pytest.mark.skipif(os.name != "posix", reason="limits of open files are POSIX")
@pytest.mark.parametrize("name", NAMES)
def test_too_many_open_files_are_not_taken_for_damage(readers, name, tmp_path):
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with pytest.raises(OSError, match=f"Too many open files: .*{name}") as caught:
            readers[name](tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert caught.value.errno == errno.EMFILE


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_vanishes_before_it_is_read_is_missing_and_not_damaged(
    readers, name, tmp_path, monkeypatch
):
    (tmp_path / name).unlink()
    monkeypatch.setattr(Path, "is_file", lambda path: True)  # as it was a moment ago
    monkeypatch.setattr(Path, "stat", lambda path: os.stat(tmp_path))
    with pytest.raises(FileNotFoundError, match=name) as caught:
        readers[name](tmp_path / name)
    assert caught.value.errno == errno.ENOENT


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("a.jpeg", (Image.Image, "resize")),
        ("a.npz", (np.lib.npyio.NpzFile, "__getitem__")),
        ("a.pickle", (pickle._Unpickler, "load")),
        ("a.txt", (np, "loadtxt")),
        ("a.csv", (np, "loadtxt")),
    ],
)
def test_a_lack_of_memory_is_not_taken_for_damage(readers, name, place, tmp_path, monkeypatch):
    def lacking(*_, **__):
        raise MemoryError

    monkeypatch.setattr(*place, lacking)
    with pytest.raises(MemoryError, match=f"{name}: not enough memory"):
        readers[name](tmp_path / name)
