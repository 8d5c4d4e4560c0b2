"""Photographs in folders: batches, shares of ranks, resuming, and folders that are not right."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from picture_helpers import plain, smooth, write_tree

from geonet.data.decoding import DamagedPicture
from geonet.data.image_folders import (
    EIGENVALUES,
    EIGENVECTORS,
    ImageFolders,
    colour_shifts,
)

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels, from 0 to 1

TRAINING, VALIDATION = {"b": 7, "a": 6, "c": 10}, {"a": 3, "b": 4, "c": 2}
CLASS_OF = np.repeat([1, 0, 2], [7, 6, 10])  # of the k-th training picture


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("plain"), TRAINING, VALIDATION)


def shades(batches):
    """The numbers of the pictures in each batch, told by their shades, with the labels."""
    return [
        (np.rint((x * STD + MEAN)[:, 0, 0, 0] * 255).astype(int).tolist(), labels.tolist())
        for x, labels in batches
    ]


def same(first, second):
    pairs = list(zip(first, second, strict=True))
    return all(np.array_equal(a, b) for one, other in pairs for a, b in zip(one, other))


def test_counts_and_classes_are_those_of_the_folders(tree):
    data = ImageFolders(str(tree), 8)
    assert data.classes == ["a", "b", "c"]
    assert (data.num_classes, data.train_count, data.total_count) == (3, 23, 23)
    assert (data.validation_count, data.warnings, data.damaged) == (9, [], {})
    assert (data.path, data.size) == (tree, 8)


def test_the_digest_stands_for_the_names_wherever_they_lie(tree, tmp_path):
    copy = shutil.copytree(tree, tmp_path / "copy")
    digest = ImageFolders(tree, 8).digest
    assert ImageFolders(copy, 16).digest == digest
    for part in ("train", "val"):
        (copy / part / "c").rename(copy / part / "d")  # with the same labels
    assert ImageFolders(copy, 8).digest != digest
    for part in ("train", "val"):
        (copy / part / "d").rename(copy / part / "c")
    for part in ("train", "val"):
        (copy / part / "a").rename(copy / part / "z")  # whose labels others then have
    assert ImageFolders(copy, 8).digest != digest


def test_a_network_sees_standardized_pixels(tree):
    ((x, labels),) = ImageFolders(tree, 5).validation_batches(100)
    assert (x.shape, x.dtype) == ((9, 5, 5, 3), np.float32)
    assert labels.dtype == np.int64
    assert x.flags.c_contiguous
    expected = np.full((9, 5, 5, 3), np.arange(9)[:, None, None, None] / 255)
    np.testing.assert_allclose(x, (expected - MEAN) / STD, rtol=1e-5)


def test_under_resnet_pixels_are_not_divided_and_each_picture_has_one_shift_of_colours(tree):
    data = ImageFolders(tree, 5, recipe="resnet")
    ((x, _),) = data.validation_batches(100)
    expected = np.full((9, 5, 5, 3), np.arange(9)[:, None, None, None] / 255)
    np.testing.assert_allclose(x, expected - MEAN, atol=1e-6)
    ((x, _),) = data.train_batches(23, rng())  # of one colour each, which no cut changes
    assert np.ptp(x, axis=(1, 2)).max() == 0
    assert len({colour.tobytes() for colour in x[:, 0, 0] + np.float32(MEAN)}) == 23
    assert np.ptp(x[:, 0, 0], axis=1).std() > 1e-4  # not grey any more


def test_colours_shift_with_the_variances_of_their_principal_components():
    shifts = colour_shifts(200_000, 0.1, seed=3)
    values, vectors = np.array(EIGENVALUES), np.array(EIGENVECTORS)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=2e-4)  # of four digits
    covariance = vectors @ np.diag((0.1 * values) ** 2) @ vectors.T
    np.testing.assert_allclose(np.cov(shifts.T), covariance, atol=0.02 * covariance.max())
    along = shifts @ vectors  # whose smallest deviation is a fiftieth of the largest
    np.testing.assert_allclose(along.std(axis=0), 0.1 * values, rtol=0.02)
    np.testing.assert_allclose(along.mean(axis=0), 0, atol=0.1 * values.max() / 100)


def test_an_unknown_recipe_is_refused(tree):
    with pytest.raises(ValueError, match="recipe must be one of inception, resnet, but is 'vgg'"):
        ImageFolders(tree, 8, recipe="vgg")


def test_validation_pictures_come_once_and_in_order(tree):
    batches = shades(ImageFolders(tree, 4).validation_batches(4))
    assert batches == [([0, 1, 2, 3], [0, 0, 0, 1]), ([4, 5, 6, 7], [1, 1, 1, 2]), ([8], [2])]


@given(st.integers(1, 23), st.integers(0, 2**32))
def test_an_epoch_has_every_picture_at_most_once_with_its_label(tree, batch_size, seed):
    batches = shades(ImageFolders(tree, 2).train_batches(batch_size, rng(seed)))
    assert [len(labels) for _, labels in batches] == [batch_size] * (23 // batch_size)
    seen = [k for numbers, _ in batches for k in numbers]
    assert len(set(seen)) == len(seen)
    assert [k for _, labels in batches for k in labels] == CLASS_OF[seen].tolist()


def test_epochs_differ_and_repeat_with_the_generator(tree):
    data, generator = ImageFolders(tree, 2), rng(1)
    first, second = (shades(data.train_batches(5, generator)) for _ in range(2))
    assert first != second
    assert first == shades(data.train_batches(5, rng(1)))


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**32))
def test_ranks_share_what_one_process_would_take(tree, ranks, batch_size, seed):
    whole = shades(ImageFolders(tree, 2).train_batches(ranks * batch_size, rng(seed)))
    parts = []
    for rank in range(ranks):
        data = ImageFolders(tree, 2, rank=rank, ranks=ranks)
        assert data.train_count // batch_size == len(whole)
        parts.append(shades(data.train_batches(batch_size, rng(seed))))
    for (numbers, labels), shares in zip(whole, zip(*parts, strict=True), strict=True):
        assert numbers == [k for share, _ in shares for k in share]
        assert labels == [k for _, share in shares for k in share]


@given(st.integers(1, 5))
def test_ranks_share_the_validation_pictures(tree, ranks):
    sets = [ImageFolders(tree, 2, rank=rank, ranks=ranks) for rank in range(ranks)]
    seen = [[k for b in shades(data.validation_batches(2)) for k in b[0]] for data in sets]
    assert seen == [list(range(9))[rank::ranks] for rank in range(ranks)]
    assert [data.validation_count for data in sets] == [len(part) for part in seen]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    return write_tree(folder, {"a": 9, "b": 8}, {"a": 1, "b": 1}, lambda k: smooth(60, 50, k))


@pytest.mark.parametrize("recipe", ["inception", "resnet"])
@pytest.mark.parametrize("skip", range(5))
def test_an_epoch_continues_where_it_was_left(photographs, skip, recipe):
    data, generators = ImageFolders(photographs, 16, recipe=recipe), (rng(3), rng(3))
    whole, rest = data.train_batches(4, generators[0]), data.train_batches(4, generators[1], skip)
    # which draws all it ever draws before the first batch, and the same whatever is skipped
    assert generators[0].random() == generators[1].random()
    assert same(list(whole)[skip:], rest)


@pytest.mark.parametrize("recipe", ["inception", "resnet"])
def test_what_is_drawn_of_a_picture_does_not_depend_on_its_batch(photographs, recipe):
    data = ImageFolders(photographs, 16, recipe=recipe)
    joined = (
        [np.concatenate(part) for part in zip(*data.train_batches(size, rng(2)))]
        for size in (16, 8, 2)
    )
    first, *others = joined
    assert all(same([first], [other]) for other in others)


def test_what_is_drawn_of_a_picture_differs_between_epochs(tmp_path):
    write_tree(tmp_path, {"a": 1}, {"a": 1}, lambda k: smooth(60, 50, k))
    data, generator = ImageFolders(tmp_path, 16), rng()
    (first, _), (second, _) = (next(data.train_batches(1, generator)) for _ in range(2))
    assert abs(first - second).max() > 0.1


def test_what_is_drawn_differs_between_pictures(tmp_path):
    write_tree(tmp_path, {"a": 9}, {"a": 1}, lambda k: smooth(60, 50))
    ((x, _),) = ImageFolders(tmp_path, 8).train_batches(9, rng())
    assert len({picture.tobytes() for picture in x}) == 9


def test_files_that_are_not_pictures_are_ignored(tmp_path):
    write_tree(tmp_path, {"a": 1, "b": 1}, {"a": 1, "b": 1})
    folder = tmp_path / "train" / "a"
    for name in ("x.JPEG", "x.jpg", "x.Png"):
        plain(0).save(folder / name, "PNG")
    for name in (".x.png", "notes.txt", "x.jpeg.part", "README"):
        (folder / name).write_text("nothing")
    (folder / "folder.png").mkdir()
    (tmp_path / "train" / ".cache").mkdir()
    (tmp_path / "train" / "list.txt").write_text("nothing")
    data = ImageFolders(tmp_path, 8)
    assert (data.total_count, data.classes) == (5, ["a", "b"])
    assert sum(len(labels) for _, labels in data.train_batches(1, rng())) == 5
    assert data.damaged == {}


@pytest.fixture
def damaged(tmp_path):
    write_tree(tmp_path, {"a": 4, "b": 4}, {"a": 3, "b": 1})
    broken = [tmp_path / "train" / "a" / "001.png", tmp_path / "val" / "a" / "001.png"]
    for path in broken:
        path.write_bytes(b"broken")
    return tmp_path, [str(path) for path in broken]


def test_a_damaged_picture_is_left_out_named_and_counted_once(damaged):
    folder, (training, validation) = damaged
    data, generator = ImageFolders(folder, 4), rng()
    for _ in range(2):
        sizes = [len(x) for x, _ in data.train_batches(4, generator)]
        assert sorted(sizes) == [3, 4]
    assert data.damaged == {training: "neither a JPEG nor a PNG file"}
    assert shades(data.validation_batches(2)) == [([0], [0]), ([2, 3], [0, 1])]
    assert set(data.damaged) == {training, validation}
    assert shades(data.validation_batches(4)) == [([0, 2, 3], [0, 0, 1])]
    # a batch of it alone would be empty
    assert shades(data.validation_batches(1)) == [([0], [0]), ([2], [0]), ([3], [1])]


def test_damage_changes_nothing_for_other_pictures(photographs, tmp_path):
    broken = write_tree(tmp_path, {"a": 9, "b": 8}, {"a": 1, "b": 1}, lambda k: smooth(60, 50, k))
    (broken / "train" / "b" / "012.png").write_bytes(b"broken")
    before, after = (
        np.concatenate([x for x, _ in ImageFolders(folder, 8).train_batches(17, rng())])
        for folder in (photographs, broken)
    )
    assert len(after) == len(before) - 1
    assert {x.tobytes() for x in after} < {x.tobytes() for x in before}


def test_damage_is_an_error_under_strict(damaged):
    folder, (training, validation) = damaged
    data = ImageFolders(folder, 4, strict=True)
    with pytest.raises(DamagedPicture, match=training):
        list(data.train_batches(4, rng()))
    with pytest.raises(DamagedPicture, match=validation):
        list(data.validation_batches(4))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_has_vanished_is_an_error_of_its_own(workers, tmp_path):
    folder = write_tree(tmp_path, {"a": 4, "b": 4}, {"a": 3, "b": 1})
    with ImageFolders(folder, 4, workers=workers) as data:
        (folder / "train" / "a" / "001.png").unlink()
        with pytest.raises(FileNotFoundError, match=r"No such file .*a.001\.png"):
            list(data.train_batches(4, rng()))
        assert data.damaged == {}
        assert len(list(data.validation_batches(4))) == 1


def test_a_training_batch_of_damaged_pictures_alone_is_an_error(damaged):
    folder, (training, _) = damaged
    with pytest.raises(DamagedPicture, match=training) as error:
        list(ImageFolders(folder, 4).train_batches(1, rng()))
    assert "; all 1 pictures of a batch are damaged" in error.value.reason


def test_folders_that_are_not_right_are_refused_by_name(tmp_path):
    def refusal(error, *words, **options):
        with pytest.raises(error) as caught:
            ImageFolders(tmp_path / "set", 8, **options)
        assert all(str(word) in str(caught.value) for word in words)
        assert "\n" not in str(caught.value)

    folder = tmp_path / "set"
    refusal(FileNotFoundError, folder, "no such folder")
    folder.mkdir()
    refusal(FileNotFoundError, folder / "train", "no such folder")
    (folder / "train").mkdir()
    refusal(ValueError, folder / "train", "no classes")
    (folder / "train" / "a").mkdir()
    refusal(ValueError, folder / "train" / "a", "empty class")
    plain(0).save(folder / "train" / "a" / "0.png")
    refusal(FileNotFoundError, folder / "val", "no such folder")
    write_tree(folder, {}, {"a": 1, "b": 1, "c": 1})
    refusal(ValueError, folder / "val" / "b", "this class is missing in", folder / "train")


def test_an_empty_validation_class_is_refused_by_name(tmp_path):
    write_tree(tmp_path, {"a": 1, "b": 1}, {"a": 1, "b": 0})
    with pytest.raises(ValueError, match=f"{tmp_path / 'val' / 'b'}: an empty class"):
        ImageFolders(tmp_path, 8)


def test_a_class_without_validation_pictures_is_a_warning_or_an_error(tmp_path):
    write_tree(tmp_path, {"a": 1, "b": 1, "c": 1}, {"a": 1, "c": 2})
    data = ImageFolders(tmp_path, 8)
    (sentence,) = data.warnings
    assert sentence == f"{tmp_path / 'val'}: the class b of train is missing"
    assert shades(data.validation_batches(5)) == [([0, 1, 2], [0, 2, 2])]
    with pytest.raises(ValueError, match="the class b of train is missing"):
        ImageFolders(tmp_path, 8, strict=True)


def test_numbers_out_of_range_are_refused(tree):
    for numbers, words in (
        ({"size": 0}, "size must be a whole number of at least 1"),
        ({"workers": -1}, "workers must be a whole number of at least 0"),
        ({"rank": -1}, "rank must be a whole number of at least 0"),
        ({"rank": 2, "ranks": 2}, "rank must be from 0 to 1, but is 2"),
    ):
        with pytest.raises(ValueError, match=words):
            ImageFolders(tree, **{"size": 8} | numbers)
    data = ImageFolders(tree, 8)
    with pytest.raises(ValueError, match="batch_size is 24, more than the 23 training images"):
        data.train_batches(24, rng())
    for batches in (data.validation_batches, lambda size: data.train_batches(size, rng())):
        with pytest.raises(ValueError, match=r"batch_size must be .* at least 1, but is 0"):
            batches(0)
    for skip in (-1, 5):
        with pytest.raises(ValueError, match="skip must be from 0 to the 4 batches"):
            data.train_batches(5, rng(), skip)


def test_photographs_of_imagenet_are_read():
    if "GEONET_DATA" not in os.environ:
        pytest.skip("GEONET_DATA is not set: it names a folder with photographs in imagenet/")
    with ImageFolders(Path(os.environ["GEONET_DATA"], "imagenet"), 64, workers=1) as data:
        training = np.concatenate([x for x, _ in data.train_batches(7, rng())])
        labels = np.concatenate([labels for _, labels in data.validation_batches(10)])
    assert data.damaged == {}
    assert len(training) == data.train_count // 7 * 7 > 0
    assert (np.diff(labels) >= 0).all()
    assert len(labels) == data.validation_count > 0
    # mean and deviation are about those that standardize all of ImageNet
    assert abs(training.mean()) < 0.3
    assert 0.8 < training.std() < 1.2
