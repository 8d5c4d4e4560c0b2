"""Drawn pictures: ten classes that neither colour nor brightness reveals, and their files."""

import re

import numpy as np
import pytest
from PIL import Image

from geonet.data.image_folders import ImageFolders
from geonet.experiments.sets import drawn_pictures
from geonet.experiments.sets.drawn_pictures import (
    CLASSES,
    OUTLINES,
    TEXTURES,
    WNIDS,
    draw_pictures,
    load_pictures,
    paint,
    write_pictures,
)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def pictures():
    return draw_pictures(3000, rng())


def neighbour_accuracy(features, labels, k=25):
    """Share of the last third whose class is the most frequent of their k nearest others."""
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    (known, asked), (classes, truth) = (np.split(a, [2000]) for a in (features, labels))
    squares = (known**2).sum(axis=1) - 2 * asked @ known.T
    nearest = np.argpartition(squares, k, axis=1)[:, :k]
    votes = (classes[nearest][..., None] == np.arange(len(CLASSES))).sum(axis=1)
    return (votes.argmax(axis=1) == truth).mean()


def test_pictures_have_their_shape_and_all_classes_about_equally_often(pictures):
    images, labels = pictures
    assert (images.shape, images.dtype) == ((3000, 32, 32, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((3000,), np.int64)
    counts = np.bincount(labels, minlength=len(CLASSES))
    assert len(counts) == len(CLASSES) == 10
    assert counts.min() > 230


def test_pictures_repeat_with_the_generator():
    for first, again, other in zip(*(draw_pictures(20, rng(seed)) for seed in (1, 1, 2))):
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)


@pytest.mark.parametrize("count", [0, 1, 499, 501, 1001])
def test_any_number_of_pictures_can_be_drawn(count):
    images, labels = draw_pictures(count, rng())
    assert len(images) == len(labels) == count
    if count:
        assert images.std(axis=(1, 2, 3)).min() > 1  # none is left empty


def test_a_larger_picture_shows_the_same_at_a_finer_grain():
    labels = np.arange(10)
    small, large = paint(labels, rng(3)), paint(labels, rng(3), 128)
    assert large.shape == (10, 128, 128, 3)
    coarse = large.reshape(10, 32, 4, 32, 4, 3).mean(axis=(2, 4))
    # which differ by the noise, and at the edges of figures
    assert np.median(abs(coarse - small)) < 15  # of other pictures: 44


def test_neither_brightness_nor_colours_tell_the_class(pictures):
    images, labels = pictures
    pixels = images.reshape(len(images), -1, 3).astype(float)
    means, spreads = pixels.mean(axis=1), pixels.std(axis=1)
    for features in (means.mean(axis=1, keepdims=True), means, np.hstack([means, spreads])):
        assert neighbour_accuracy(features, labels) < 0.17  # by chance: 0.1
    shuffled = rng().permuted(pixels, axis=1).reshape(len(images), -1)
    assert neighbour_accuracy(shuffled, labels) < 0.17


def test_one_picture_a_class_differs_more_than_by_noise(pictures):
    # the mean picture of a class is a blur of its figure: those of two classes are no copies
    images, labels = pictures
    means = np.array([images[labels == k].mean(axis=(0, 3)) for k in range(len(CLASSES))])
    differences = abs(means[:, None] - means).max(axis=(2, 3)) + 100 * np.eye(len(CLASSES))
    assert differences.min() > 5


def test_outlines_are_closed_and_cover_nearly_the_same_area():
    steps = np.linspace(-2, 2, 401)
    rho, phi = np.hypot(steps, steps[:, None]), np.arctan2(steps[:, None], steps)
    areas = [(outline(rho, phi) < 0).mean() * 16 for outline in OUTLINES.values()]
    assert max(areas) < 1.35 * min(areas)
    for outline in OUTLINES.values():
        assert (outline(rho, phi)[rho > 1.6] > 0).all()


def test_textures_are_light_and_dark_in_comparable_parts():
    x, y = np.meshgrid(*[np.linspace(-1, 1, 201)] * 2)
    for texture in TEXTURES.values():
        assert 0.3 < (texture(x, y, 6.5) > 0).mean() < 0.7


def test_loading_draws_the_training_pictures_first():
    images, generator = load_pictures(rng(7)), rng(7)
    assert (images.train_count, images.validation_count, images.num_classes) == (8000, 2000, 10)
    training, _ = draw_pictures(8000, generator)
    _, labels = draw_pictures(2000, generator)
    np.testing.assert_allclose(images.mean, training.mean(axis=(0, 1, 2)))
    found = np.concatenate([labels for _, labels in images.validation_batches(512)])
    np.testing.assert_array_equal(found, labels)


def test_pictures_are_written_in_the_layout_of_imagenet(tmp_path):
    folder = tmp_path / "some" / "where"
    write_pictures(folder, rng(), training=32, validation=11, side=40)
    assert [path.name for path in folder.parent.iterdir()] == ["where"]  # nothing else is left
    data = ImageFolders(folder, 16)
    assert data.classes == WNIDS
    assert all(re.fullmatch("n[0-9]{8}", name) for name in WNIDS)
    assert len(WNIDS) == len(CLASSES)
    assert (data.total_count, data.validation_count, data.warnings) == (32, 11, [])
    paths = sorted((folder / "train").rglob("*.*"))
    assert all(path.suffix == ".JPEG" for path in paths)
    sizes = set()
    for path in paths:
        with Image.open(path) as image:
            sizes.add((image.format, image.mode, *image.size))
    assert sizes == {("JPEG", "RGB", 40, 40)}


def test_a_file_shows_the_picture_of_its_class(tmp_path):
    write_pictures(tmp_path / "set", rng(1), training=12, validation=10, side=64)
    generator = rng(1)
    for part, count in (("train", 12), ("val", 10)):
        pixels = paint(np.arange(count) % 10, generator, 64)
        for k in range(count):
            name = WNIDS[k % 10]
            with Image.open(tmp_path / "set" / part / name / f"{name}_{k}.JPEG") as image:
                error = abs(np.asarray(image).astype(int) - pixels[k]).mean()
            assert error < 25  # JPEG does not keep noise; of another picture it is 60


def test_pictures_are_there_whole_or_not_at_all(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(drawn_pictures.os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_pictures(tmp_path / "set", rng(), training=10, validation=10, side=16)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("content")
    with pytest.raises(FileExistsError, match=str(tmp_path)):
        write_pictures(tmp_path, rng())
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
