"""Minibatches of images: what an epoch holds, in what order, and how little of it is in memory."""

import itertools
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geonet.data.image_arrays import SCALE, ImageSet


def rng(seed=0):
    return np.random.default_rng(seed)


def numbered(first, count, side=2):
    """Images that tell their number: in the first pixel's red and green; the others differ."""
    images = rng(first).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    numbers = np.arange(first, first + count)
    images[:, 0, 0, 0] = images[:, 0, -1, 0] = numbers // 256  # found also when mirrored
    images[:, 0, 0, 1] = images[:, 0, -1, 1] = numbers % 256
    return images, numbers % 7


def image_set(*counts, validation=5, **scale):
    """A set of parts with so many images, numbered through, and all of its training images."""
    starts = [0, *itertools.accumulate(counts)]
    parts = [numbered(start, count) for start, count in zip(starts, counts, strict=False)]
    whole = np.concatenate([images for images, _ in parts])
    functions = [lambda part=part: part for part in parts]
    return ImageSet(functions, numbered(1000, validation), **scale), whole


def pixels(images, x):
    """What the network sees, as pixels again."""
    return np.rint(x * SCALE + images.mean).astype(int)


def numbers(images, x):
    shown = pixels(images, x)
    return shown[:, 0, 0, 0] * 256 + shown[:, 0, 0, 1]


PARTS = st.lists(st.integers(1, 40), min_size=1, max_size=5)


@given(PARTS, st.integers(1, 60), st.integers(0, 9))
def test_an_epoch_shows_every_image_once_in_full_batches(counts, batch_size, seed):
    images, _ = image_set(*counts)
    batch_size = min(batch_size, sum(counts))
    batches = list(images.train_batches(batch_size, rng(seed)))
    assert images.train_count == sum(counts)
    assert len(batches) == sum(counts) // batch_size
    assert all(x.shape == (batch_size, 2, 2, 3) for x, _ in batches)
    seen = np.concatenate([numbers(images, x) for x, _ in batches])
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(range(sum(counts)))
    labels = np.concatenate([labels for _, labels in batches])
    np.testing.assert_array_equal(labels, seen % 7)


def test_batches_are_contiguous_float32_and_int64_whatever_the_layout_of_the_images():
    for layout in (np.ascontiguousarray, np.asfortranarray, lambda x: x[:, ::-1, ::-1, ::-1]):
        pictures, labels = numbered(0, 12)
        part = layout(pictures), labels
        images = ImageSet([lambda part=part: part], part)
        for batches in (images.train_batches(4, rng()), images.validation_batches(5)):
            for x, y in batches:
                assert x.dtype == np.float32
                assert x.flags.c_contiguous
                assert y.dtype == np.int64


def test_inputs_are_pixels_less_the_channels_training_mean_over_the_scale():
    for scale in ({}, {"scale": 255}):
        images, whole = image_set(13, 8, **scale)
        np.testing.assert_allclose(images.mean, whole.mean(axis=(0, 1, 2)), rtol=1e-12)
        validation, labels = numbered(1000, 5)
        (x, y), *rest = images.validation_batches(9)
        assert not rest
        expected = (validation - images.mean) / scale.get("scale", 64)
        np.testing.assert_allclose(x, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(y, labels)


def test_training_images_are_as_they_are_or_mirrored_half_of_each():
    images, whole = image_set(300, 300)
    mirrored = 0
    for x, _ in images.train_batches(50, rng()):
        for shown, original in zip(pixels(images, x), whole[numbers(images, x)], strict=True):
            as_it_is, turned = (shown == original).all(), (shown == original[:, ::-1]).all()
            assert as_it_is != turned
            mirrored += turned
    assert 240 < mirrored < 360


def test_validation_images_come_in_order_and_all():
    images, _ = image_set(3, validation=11)
    batches = list(images.validation_batches(4))
    assert [len(y) for _, y in batches] == [4, 4, 3]
    assert images.validation_count == 11
    seen = np.concatenate([numbers(images, x) for x, _ in batches])
    np.testing.assert_array_equal(seen, np.arange(1000, 1011))


def test_epochs_repeat_with_the_generator_and_differ_from_each_other():
    images, _ = image_set(20, 20)

    def epoch(generator):
        return np.concatenate([x for x, _ in images.train_batches(10, generator)])

    generator = rng(1)
    first, second = epoch(generator), epoch(generator)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, epoch(rng(1)))


def test_both_the_parts_and_their_images_are_shuffled():
    images, _ = image_set(30, 30, 30)
    orders = [
        np.concatenate([numbers(images, x) for x, _ in images.train_batches(1, rng(seed))])
        for seed in range(20)
    ]
    assert {order[0] // 30 for order in orders} == {0, 1, 2}
    assert len({tuple(order[:30] % 30) for order in orders}) == 20


def test_images_and_labels_of_the_source_stay_as_they_are():
    training, validation = numbered(0, 30), numbered(1000, 5)
    kept = [array.copy() for array in (*training, *validation)]
    images = ImageSet([lambda: training], validation)
    for x, y in itertools.chain(images.train_batches(8, rng()), images.validation_batches(2)):
        x[:] = 0
        y[:] = 0
    for array, before in zip((*training, *validation), kept, strict=True):
        np.testing.assert_array_equal(array, before)


def test_one_part_at_a_time_is_in_memory():
    living = []

    def part(first, count=10):
        assert not any(reference() is not None for reference in living)
        images, labels = numbered(first, count)
        living.append(weakref.ref(images))
        return images, labels

    images = ImageSet([lambda k=k: part(10 * k) for k in range(6)], numbered(1000, 5))
    assert images.train_count == len(living) * 10 == 60
    for batch_size in (4, 25):
        for _ in images.train_batches(batch_size, rng()):
            pass
    assert len(living) == 18


def test_number_of_classes_is_that_of_the_training_labels():
    images = ImageSet([lambda: numbered(0, 3), lambda: numbered(3, 2)], numbered(1000, 5))
    assert images.num_classes == 5


def test_batch_sizes_that_make_no_sense_are_refused_at_once():
    images, _ = image_set(6, 4)
    with pytest.raises(ValueError, match="batch_size is 11, more than the 10 training images"):
        images.train_batches(11, rng())
    for batches in (images.validation_batches, lambda size: images.train_batches(size, rng())):
        with pytest.raises(ValueError, match=r"batch_size must be .* at least 1, but is 0"):
            batches(0)
