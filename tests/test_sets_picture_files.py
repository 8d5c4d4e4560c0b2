"""The drawn pictures as files: their layout, and that they are there whole or not at all."""

import re

import numpy as np
import pytest
from PIL import Image

from geonet.data.image_folders import ImageFolders
from geonet.experiments.sets import picture_files as imagenet_pictures
from geonet.experiments.sets.picture_files import WNIDS, write_pictures
from geonet.experiments.sets.pictures import CLASSES, paint


def rng(seed=0):
    return np.random.default_rng(seed)


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

    monkeypatch.setattr(imagenet_pictures.os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_pictures(tmp_path / "set", rng(), training=10, validation=10, side=16)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "precious").write_text("content")
    with pytest.raises(FileExistsError, match=str(tmp_path)):
        write_pictures(tmp_path, rng())
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
