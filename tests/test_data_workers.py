"""Processes that decode ahead: the same pictures, and no process left behind or waited for."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import numpy as np
import pytest
from picture_helpers import smooth, write_tree
from PIL import Image

from geonet.data import workers
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


def started(before=()):
    """The processes that this one has started and that live."""
    return [process for process in multiprocessing.active_children() if process not in before]


def same(first, second):
    pairs = list(zip(first, second, strict=True))
    return all(np.array_equal(a, b) for one, other in pairs for a, b in zip(one, other))


@pytest.mark.parametrize(("count", "recipe"), [(1, "inception"), (2, "resnet"), (3, "inception")])
def test_batches_do_not_depend_on_the_number_of_workers(tree, count, recipe):
    alone = ImageFolders(tree, 16, recipe=recipe)
    with ImageFolders(tree, 16, recipe=recipe, workers=count) as data:
        for size, skip in ((8, 0), (1, 80), (CHUNK * count + 7, 0), (87, 0)):
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


def test_a_worker_that_ends_is_an_error_and_does_not_hang(tree):
    before = started()
    with ImageFolders(tree, 16, workers=2) as data:
        next(data.train_batches(10, rng()))
        started(before)[0].kill()
        for _ in range(2):  # the first time it dies amid its work, then it is found dead
            with pytest.raises(ChildProcessError, match=r"pictures ended, at /.*\.png or"):
                # many batches, so that the one that is left does not do them all
                any(False for seed in range(10) for _ in data.train_batches(10, rng(seed)))


def test_closing_ends_the_workers_even_amid_an_epoch(tree):
    before = started()
    data = ImageFolders(tree, 16, workers=2)
    batches = data.train_batches(10, rng())
    next(batches)
    assert len(started(before)) == 2
    data.close()
    data.close()
    assert not started(before)
    with pytest.raises(RuntimeError, match="shutdown"):
        list(batches)


def test_workers_end_with_what_they_worked_for(tree):
    before = started()
    data = ImageFolders(tree, 16, workers=1)
    next(data.train_batches(10, rng()))
    (process,) = started(before)
    del data
    process.join(timeout=20)
    assert process.exitcode == 0


def test_no_shared_memory_is_left_behind(tree, monkeypatch):
    made = []

    class Noted(SharedMemory):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            made.append(self.name)

    monkeypatch.setattr(workers, "SharedMemory", Noted)
    with ImageFolders(tree, 16, workers=2) as data:
        list(data.validation_batches(2))
        next(data.train_batches(10, rng()))
        assert not list(data.train_batches(20, rng(), skip=4))
    assert len(made) == 2
    for name in made:
        with pytest.raises(FileNotFoundError):
            SharedMemory(name)


PROGRAM = """
import sys
import numpy as np
from geonet.data import workers
from geonet.data.image_folders import ImageFolders
data = ImageFolders(sys.argv[1], 16, workers=2)
while True:
    for batch in data.train_batches(10, np.random.default_rng(0)):
        print("a batch", flush=True)
        if sys.argv[2] == "end":
            sys.exit()
"""


@pytest.mark.parametrize("ending", ["end", "SIGKILL", "SIGTERM", "SIGINT"])
def test_no_worker_outlives_its_parent(tree, tmp_path, ending):
    # The workers have inherited the pipe that is read here: it ends when the last of them does.
    # The program is a file, which they would run again if they imported it.
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command, env = [sys.executable, program, tree, ending], os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=env, text=True, start_new_session=True, **pipes) as process:
        assert process.stdout.readline() == "a batch\n"
        if ending != "end":
            time.sleep(0.1)
            os.killpg(process.pid, getattr(signal, ending))  # as a terminal does
        _, errors = process.communicate(timeout=30)
    assert errors.count("Traceback") == (ending == "SIGINT")
    assert ("KeyboardInterrupt" in errors) == (ending == "SIGINT")
    if ending == "end":
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
@pytest.mark.parametrize("count", [0, 2])
def test_mutated_files_are_each_decoded_or_counted(tmp_path, count):
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
    with ImageFolders(tmp_path / "set", 16, workers=count) as data:
        seen = sum(len(labels) for _, labels in data.validation_batches(16))
    assert data.validation_count == 202
    assert seen + len(data.damaged) == 202
    assert 30 < len(data.damaged) < 170
    assert all(reason for reason in data.damaged.values())
