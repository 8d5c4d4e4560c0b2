"""Processes that decode ahead: the same pictures, and no process left behind or waited for."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from picture_helpers import smooth, write_tree
from PIL import Image

from geonet.data.image_folders import ImageFolders
from geonet.data.workers import CHUNK

pytestmark = pytest.mark.skipif(os.name != "posix", reason="workers need a POSIX system")
ROOT = Path(__file__).parent.parent


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tree")
    write_tree(folder, {"a": 40, "b": 47}, {"a": 3, "b": 2}, lambda k: smooth(60, 50, k))
    (folder / "train" / "b" / "050.png").write_bytes(b"broken")
    return folder


@pytest.fixture
def processes(monkeypatch):
    """The processes that are started from now on, in order."""
    started = []

    class Noted(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    return started


def same(first, second):
    pairs = list(zip(first, second, strict=True))
    return all(np.array_equal(a, b) for one, other in pairs for a, b in zip(one, other))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_batches_do_not_depend_on_the_number_of_workers(tree, workers):
    alone = ImageFolders(tree, 16)
    with ImageFolders(tree, 16, workers=workers) as data:
        for size, skip in ((8, 0), (1, 80), (CHUNK * workers + 7, 0), (87, 0)):
            if size > 1:  # whose batch might be the damaged picture alone
                batches = data.train_batches(size, rng(1), skip)
                assert same(batches, alone.train_batches(size, rng(1), skip))
        assert same(data.validation_batches(2), alone.validation_batches(2))
        assert data.damaged == alone.damaged
        assert list(data.damaged) == [str(tree / "train" / "b" / "050.png")]


def test_batches_may_be_left_and_taken_side_by_side(tree):
    alone = ImageFolders(tree, 16)
    with ImageFolders(tree, 16, workers=2) as data:
        for _ in range(3):
            next(data.train_batches(10, rng()))
        pairs = zip(data.train_batches(20, rng(1)), data.train_batches(20, rng(2)))
        first, second = zip(*pairs)
        assert same(first, alone.train_batches(20, rng(1)))
        assert same(second, alone.train_batches(20, rng(2)))


def test_a_batch_once_given_does_not_change(tree):
    with ImageFolders(tree, 16, workers=2) as data:
        batches = [(x, x.copy()) for x, _ in data.train_batches(10, rng())]
    assert all(np.array_equal(x, copy) for x, copy in batches)


def test_a_worker_that_ends_is_an_error_and_does_not_hang(tree, processes):
    with ImageFolders(tree, 16, workers=2) as data:
        next(data.train_batches(10, rng()))
        processes[0].kill()
        with pytest.raises(ChildProcessError, match="ended with status -9, at one of the"):
            # many batches, so that the one that is left does not do them all
            any(False for seed in range(10) for _ in data.train_batches(10, rng(seed)))


def test_closing_ends_the_workers_even_amid_an_epoch(tree, processes):
    data = ImageFolders(tree, 16, workers=2)
    batches = data.train_batches(10, rng())
    next(batches)
    data.close()
    data.close()
    assert [process.poll() for process in processes] == [-9, -9]
    with pytest.raises(RuntimeError):
        list(batches)


def test_workers_end_with_what_they_worked_for(tree, processes):
    data = ImageFolders(tree, 16, workers=1)
    next(data.train_batches(10, rng()))
    del data
    (process,) = processes
    assert process.wait(timeout=20) == -9


PROGRAM = """
import sys, time
import numpy as np
from geonet.data.image_folders import ImageFolders
data = ImageFolders(sys.argv[1], 16, workers=2)
while True:
    for batch in data.train_batches(10, np.random.default_rng(0)):
        print("a batch", flush=True)
        if sys.argv[2] == "end":
            sys.exit()
"""


@pytest.mark.parametrize("ending", ["end", "SIGKILL", "SIGTERM", "SIGINT"])
def test_no_worker_outlives_its_parent(tree, ending):
    # the workers have inherited the pipe that is read here: it ends when the last of them does
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-c", PROGRAM, str(tree), ending]
    with subprocess.Popen(command, cwd=ROOT, text=True, start_new_session=True, **pipes) as process:
        assert process.stdout.readline() == "a batch\n"
        if ending != "end":
            time.sleep(0.1)
            os.killpg(process.pid, getattr(signal, ending))  # as a terminal does
        _, errors = process.communicate(timeout=30)
    assert errors.count("Traceback") == (ending == "SIGINT")
    assert errors.strip().endswith("KeyboardInterrupt" if ending == "SIGINT" else "")
    if ending in ("SIGKILL", "SIGTERM", "end"):
        assert not errors


def mutations(content, count, generator):
    """Files that differ from a good one: bytes changed, left out, put in, or cut off."""
    for k in range(count):
        data = bytearray(content)
        for _ in range(generator.integers(1, 20)):
            place = int(generator.integers(len(data)))
            match k % 4:
                case 0:
                    data[place] = generator.integers(256)
                case 1:
                    del data[place : place + int(generator.integers(1, 50))]
                case 2:
                    data[place:place] = generator.bytes(int(generator.integers(1, 50)))
                case 3:
                    del data[max(place, 1) :]
                    break
            if not data:
                break
        yield bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_mutated_files_are_each_decoded_or_counted(tmp_path, workers):
    write_tree(tmp_path / "set", {"a": 1, "b": 1}, {"a": 1, "b": 1}, lambda k: smooth(60, 50, k))
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = {
        "plain": {},
        "progressive": {"progressive": True},
        "turned": {"exif": exif},
        "restarts": {"restart_marker_rows": 1},
        "cmyk": {},
    }
    generator = rng(0)
    for name, options in kinds.items():
        image = smooth(120, 90).convert("CMYK" if name == "cmyk" else "RGB")
        image.save(tmp_path / "good.jpeg", **options)
        content = (tmp_path / "good.jpeg").read_bytes()
        for k, mutated in enumerate(mutations(content, 40, generator)):
            (tmp_path / "set" / "val" / "a" / f"{name}{k}.jpeg").write_bytes(mutated)
    with ImageFolders(tmp_path / "set", 16, workers=workers) as data:
        seen = sum(len(labels) for _, labels in data.validation_batches(16))
    assert data.validation_count == 202
    assert seen + len(data.damaged) == 202
    assert 30 < len(data.damaged) < 170
    assert all(reason for reason in data.damaged.values())
