"""Friedman's functions: their known values and scales, and the parts of a set."""

import numpy as np
import pytest

from geonet.experiments.sets.friedman import FRIEDMAN, load_friedman

every_function = pytest.mark.parametrize("name", list(FRIEDMAN))


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        ("friedman1", [0.5, 1, 0.5, 0, 0, 0, 0, 0, 0, 0], 10),
        ("friedman1", [0, 0, 1, 1, 1, 1, 1, 1, 1, 1], 20),
        ("friedman2", [3, 200, 0.02, 5], np.hypot(3, 4 - 1 / 1000)),
        ("friedman3", [4 - 1 / 1000, 200, 0.02, 5], np.pi / 4),
    ],
)
def test_functions_have_their_known_values(name, x, y):
    np.testing.assert_allclose(FRIEDMAN[name].value(np.array([x], dtype=float)), [y])


@every_function
def test_features_fill_their_ranges_and_the_noise_has_its_size(name):
    function = FRIEDMAN[name]
    x = rng().uniform(function.low, function.high, size=(100_000, len(function.low)))
    signal = function.value(x).std() / function.noise_std
    # three times the noise, about; of the first, the variances of the terms are known:
    # 11.2 + 400 (1/80 − 1/144) + 100/12 + 25/12 = 23.8
    known = (23.8**0.5, 0.01) if name == "friedman1" else (3, 0.06)
    assert signal == pytest.approx(known[0], rel=known[1])


@every_function
def test_the_test_part_is_noise_free_and_the_train_part_is_not(name):
    """Both are recomputed from the features before they were standardized."""
    function, split = FRIEDMAN[name], load_friedman(name, rng(3), "paper")
    x = rng(3).uniform(function.low, function.high, size=(1500, len(function.low)))
    np.testing.assert_allclose(split.train[0], (x[:500] - x[:500].mean(0)) / x[:500].std(0))
    np.testing.assert_array_equal(split.test[1][:, 0], function.value(x[500:]))
    noise = split.train[1][:, 0] - function.value(x[:500])
    assert noise.std() == pytest.approx(function.noise_std, rel=0.15)


@every_function
def test_parts_are_clean_or_the_test_part_steers(name):
    clean, paper = (load_friedman(name, rng(), protocol) for protocol in ("clean", "paper"))
    assert [len(x) for x, _ in clean] == [400, 100, 1000]
    assert [len(x) for x, _ in paper] == [500, 1000, 1000]
    np.testing.assert_array_equal(paper.validation[1], paper.test[1])
    rows = np.concatenate([clean.train[1], clean.validation[1]])
    np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(paper.train[1], axis=0))
    assert not np.array_equal(clean.test[1], load_friedman(name, rng(1)).test[1])


def test_an_unknown_name_or_protocol_is_refused():
    with pytest.raises(ValueError, match=r"name must be one of friedman1, .*'friedman4'"):
        load_friedman("friedman4", rng())
    with pytest.raises(ValueError, match="protocol must be one of clean, paper, but is 'x'"):
        load_friedman("friedman1", rng(), "x")
