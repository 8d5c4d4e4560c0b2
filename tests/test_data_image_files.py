"""Downsampled ImageNet: what its batch files hold, and what is said of those that are refused."""

import os
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from geonet.data.image_arrays import SCALE
from geonet.data.image_files import read_imagenet32


def rng(seed=0):
    return np.random.default_rng(seed)


def content(count=4, classes=3, seed=0):
    """What a batch file holds: all classes occur."""
    data = rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)
    labels = [1 + i % classes for i in range(count)]
    return {"data": data, "labels": labels, "mean": data.mean(axis=0)}


def write(folder, name, value, protocol=2):
    (folder / name).write_bytes(pickle.dumps(value, protocol))


@pytest.fixture
def folder(tmp_path):
    """A folder with two training files and one to validate on."""
    write(tmp_path, "train_data_batch_1", content(4, seed=1))
    write(tmp_path, "train_data_batch_2", content(5, seed=2))
    write(tmp_path, "val_data", content(6, seed=3))
    return tmp_path


def message(folder, error=ValueError):
    """What is said about the folder: one line."""
    with pytest.raises(error, match="expected") as caught:
        read_imagenet32(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_rows_are_channel_major_and_labels_start_at_zero(folder):
    images = read_imagenet32(folder)
    counts = images.train_count, images.validation_count, images.num_classes
    assert counts == (9, 6, 3)
    ((x, labels),) = images.validation_batches(10)
    assert x.shape == (6, 32, 32, 3)
    np.testing.assert_array_equal(labels, [0, 1, 2, 0, 1, 2])
    data = content(6, seed=3)["data"]
    for channel, row, column in [(0, 0, 0), (1, 2, 3), (2, 31, 30)]:
        np.testing.assert_allclose(
            x[:, row, column, channel] * SCALE + images.mean[channel],
            data[:, 1024 * channel + 32 * row + column],
            atol=1e-3,
        )


def test_mean_is_that_of_the_training_pixels_of_all_files(folder):
    data = np.concatenate([content(4, seed=1)["data"], content(5, seed=2)["data"]])
    mean = data.reshape(9, 3, 1024).mean(axis=(0, 2))
    np.testing.assert_allclose(read_imagenet32(folder).mean, mean, rtol=1e-12)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "change",
    [
        lambda c: c | {"labels": np.array(c["labels"])},
        lambda c: c | {"labels": np.array(c["labels"], dtype=">u2")},
        lambda c: c | {"labels": [np.int64(label) for label in c["labels"]]},
        lambda c: c | {"labels": tuple(c["labels"])},
        lambda c: c | {"data": np.asfortranarray(c["data"])},
        lambda c: {key: c[key] for key in ("labels", "data")},
        lambda c: {key.encode(): value for key, value in c.items()},
    ],
)
def test_labels_and_keys_may_be_written_in_several_ways(folder, change, protocol):
    expected = list(read_imagenet32(folder).train_batches(3, rng(5)))
    for number, count in ((1, 4), (2, 5)):
        changed = change(content(count, seed=number))
        write(folder, f"train_data_batch_{number}", changed, protocol)
    found = list(read_imagenet32(folder).train_batches(3, rng(5)))
    for (x, y), (expected_x, expected_y) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(x, expected_x)
        np.testing.assert_array_equal(y, expected_y)
        assert type(x) is type(expected_x) is np.ndarray


def test_archives_of_numpy_are_read_as_pickles_are(folder):
    expected = list(read_imagenet32(folder).train_batches(3, rng(5)))
    for name, value in (
        ("train_data_batch_2", content(5, seed=2)),
        ("val_data", content(6, seed=3)),
    ):
        np.savez(folder / name, **value)
        (folder / name).unlink()
    images = read_imagenet32(folder)
    assert images.validation_count == 6
    for (x, y), (expected_x, expected_y) in zip(
        images.train_batches(3, rng(5)), expected, strict=True
    ):
        np.testing.assert_array_equal(x, expected_x)
        np.testing.assert_array_equal(y, expected_y)


def test_an_archive_that_is_damaged_or_would_run_code_is_refused_by_name(folder):
    path = folder / "val_data.npz"
    np.savez(path, data=content()["data"], labels=np.array([1, 2, 3, Runs(folder / "mark")]))
    assert message(folder).startswith(
        f"{path}: expected an archive of plain arrays, but Object arr"
    )
    path.write_bytes(pickle.dumps(Runs(folder / "mark")))
    assert message(folder).startswith(f"{path}: expected an archive of plain arrays, but ")
    assert not (folder / "mark").exists()
    np.savez(path, labels=[1, 2])
    assert message(folder) == f"{path}: expected the keys 'data' and 'labels', found no 'data'"
    np.savez(path, **content())
    whole = path.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert message(folder).startswith(f"{path}: expected an archive of plain arrays, but ")
    for place in range(0, len(whole), 100):  # a byte that is changed is found, or means nothing
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        try:
            read_imagenet32(folder)
        except ValueError as error:
            assert str(error).startswith(f"{path}: expected ")  # noqa: PT017


def test_other_files_do_no_harm(folder):
    for name in ("train_data_batch_1.txt", "train_data_batch_", "my_train_data_batch_9", "map.txt"):
        (folder / name).write_bytes(b"")
    assert read_imagenet32(folder).train_count == 9


# --- What is wrong with a folder ----------------------------------------------------------------


def test_a_missing_folder_and_missing_files_are_named(folder):
    nowhere = folder / "nowhere"
    assert message(nowhere, FileNotFoundError).startswith(f"{nowhere}: no such folder; expected ")
    (folder / "val_data").unlink()
    assert message(folder, FileNotFoundError).startswith(f"{folder / 'val_data'}: no such file; ")
    for number in (1, 2):
        (folder / f"train_data_batch_{number}").unlink()
    assert message(folder, FileNotFoundError).startswith(f"{folder}: no training files; expected ")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("_4", 3), ("_03", 4), ("_3.npz", 4), ("_0", 1), ("_" + "9" * 99, 3)],
)
def test_gaps_and_doubles_in_the_numbering_are_named(folder, name, expected):
    write(folder, "train_data_batch_3" if expected == 4 else "other", content())
    write(folder, f"train_data_batch{name}", content())
    path, _, words = message(folder).partition(": ")
    assert Path(path).name.startswith("train_data_batch_")
    assert words.startswith(f"expected train_data_batch_{expected} instead; the numbers must go")


# --- What is wrong with a file ------------------------------------------------------------------

LABELS = "expected labels that are whole numbers from 1 to 1000, found "
DATA = "expected data of shape (N, 3072), N > 0, and dtype uint8, found "


@pytest.mark.parametrize("name", ["train_data_batch_1", "train_data_batch_2", "val_data"])
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"data": np.zeros((4, 3071), np.uint8)}, DATA + "(4, 3071) of uint8"),
        ({"data": np.zeros((4, 3, 32, 32), np.uint8)}, DATA + "(4, 3, 32, 32) of uint8"),
        ({"data": np.zeros((0, 3072), np.uint8), "labels": []}, DATA + "(0, 3072) of uint8"),
        ({"data": np.zeros((4, 3072), np.int8)}, DATA + "(4, 3072) of int8"),
        ({"data": np.zeros((4, 3072))}, DATA + "(4, 3072) of float64"),
        ({"data": np.uint8(3)}, DATA + "a int"),
        ({"data": [[0] * 3072] * 4}, DATA + "a list"),
        ({"labels": [1, 2, 3]}, "expected a label for each of the 4 images, found 3"),
        ({"labels": [1, 2, 3, 0]}, LABELS + "0 in row 3"),
        ({"labels": [1, -5, 3, 0]}, LABELS + "-5 in row 1"),
        ({"labels": [1001, 2, 3, 1]}, LABELS + "1001 in row 0"),
        ({"labels": [1, 10**5000, 3, 1]}, LABELS + "int in row 1"),
        ({"labels": [1, 2.0, 3, 1]}, LABELS + "float in row 1"),
        ({"labels": [1, 2, True, 1]}, LABELS + "bool in row 2"),
        ({"labels": [1, 2, 3, None]}, LABELS + "NoneType in row 3"),
        ({"labels": ["1", 2, 3, 1]}, LABELS + "str in row 0"),
        ({"labels": np.array([1.0, 2, 3, 1])}, LABELS + "float in row 0"),
        ({"labels": np.array([[1], [2], [3], [1]])}, LABELS + "list in row 0"),
        ({"labels": np.array([1, 2, 3, 2**64 - 1], np.uint64)}, LABELS + "int in row 3"),
        ({"labels": np.array(7)}, LABELS + "a int"),
        ({"labels": "1231"}, LABELS + "a str"),
    ],
)
def test_a_file_with_wrong_content_is_named_and_what_would_be_right(folder, name, change, expected):
    write(folder, name, content() | change)
    assert message(folder) == f"{folder / name}: {expected}"


@pytest.mark.parametrize("key", ["data", "labels"])
def test_a_missing_key_is_named(folder, key):
    value = content()
    del value[key]
    write(folder, "train_data_batch_2", value)
    expected = f"expected the keys 'data' and 'labels', found no '{key}'"
    assert message(folder) == f"{folder / 'train_data_batch_2'}: {expected}"


def test_a_pickle_of_something_else_is_named(folder):
    write(folder, "val_data", [1, 2])
    assert message(folder) == f"{folder / 'val_data'}: expected a dict, found a list"


def test_validation_labels_must_be_of_the_training_classes(folder):
    write(folder, "val_data", content(classes=4))
    expected = "expected labels of the 3 classes of the training files, found 4"
    assert message(folder) == f"{folder / 'val_data'}: {expected}"


class Runs:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("name", ["train_data_batch_1", "train_data_batch_2", "val_data"])
@pytest.mark.parametrize("key", ["data", "labels", "mean", "other"])
def test_a_file_that_would_run_code_is_refused_by_name_and_nothing_is_run(folder, name, key):
    mark = folder / "mark"
    write(folder, name, content() | {key: Runs(mark)})
    assert message(folder).startswith(
        f"{folder / name}: refuses to load {os.mkdir.__module__}.mkdir"
    )
    assert not mark.exists()


# --- Memory and disk ----------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_number_of_files(tmp_path):
    write(tmp_path, "val_data", content(10))
    peaks = []
    for files in (2, 12):
        for number in range(1, files + 1):
            write(tmp_path, f"train_data_batch_{number}", content(200, seed=number), protocol=4)
        tracemalloc.start()
        try:
            images = read_imagenet32(tmp_path)
            for _ in images.train_batches(16, rng()):
                pass
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert images.train_count == 12 * 200
    assert peaks[1] < 1.05 * peaks[0]
    assert peaks[0] < 2.5 * 200 * 3072  # a file, some batches, and the validation images


def test_a_single_training_file_is_read_once(folder):
    (folder / "train_data_batch_2").unlink()
    images = read_imagenet32(folder)
    (folder / "train_data_batch_1").unlink()
    assert len(list(images.train_batches(2, rng()))) == 2


# --- The real files -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real():
    if "GEONET_DATA" not in os.environ:
        pytest.skip("GEONET_DATA is not set: the real images are not at hand")
    return Path(os.environ["GEONET_DATA"], "imagenet32")


def test_real_files_are_read_whole_and_pixel_by_pixel(real):
    images = read_imagenet32(real)
    assert (images.train_count, images.validation_count, images.num_classes) == (8000, 1500, 10)
    with (real / "val_data").open("rb") as file:
        trusted = pickle.load(file)
    batches = list(images.validation_batches(256))
    x, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    np.testing.assert_array_equal(labels, np.array(trusted["labels"]) - 1)
    pixels = np.rint(x * SCALE + images.mean).transpose(0, 3, 1, 2).reshape(-1, 3072)
    np.testing.assert_array_equal(pixels, trusted["data"])
    total = np.zeros(3)
    for x, labels in images.train_batches(500, rng()):
        total += x.mean(axis=(0, 1, 2), dtype=np.float64)
        assert set(labels) == set(range(10))
    np.testing.assert_allclose(total / 16, 0, atol=1e-6)
