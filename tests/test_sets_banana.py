"""The Banana set: what the reader takes and refuses, its likeness, and the two splits."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geonet.experiments.sets.banana import POINTS, generate_banana, read_banana, split_banana

HEADER = "At1,At2,Class"
PROTOCOLS = pytest.mark.parametrize("protocol", ["clean", "paper"])


def rng(seed=0):
    return np.random.default_rng(seed)


# The reader ---------------------------------------------------------------------------------------


def write(folder, lines, encoding="utf-8", newline="\n"):
    path = folder / "banana.csv"
    path.write_bytes(newline.join(lines).encode(encoding))
    return path


def good_lines(count=POINTS):
    return [HEADER] + [f"{i / 7:.6g},{-i / 3:.6g},{1 if i % 3 else -1}" for i in range(count)]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("ending", [[], [""], ["", ""]])
def test_the_reader_reads_numbers_and_turns_classes_into_zero_and_one(tmp_path, newline, ending):
    x, y = read_banana(write(tmp_path, good_lines() + ending, newline=newline))
    assert x.dtype == y.dtype == np.float64
    assert (x.shape, y.shape) == ((POINTS, 2), (POINTS,))
    np.testing.assert_allclose(x[5], [5 / 7, -5 / 3], rtol=1e-5)
    np.testing.assert_array_equal(y, [1.0 if i % 3 else 0.0 for i in range(POINTS)])


def test_the_reader_takes_a_byte_order_mark_and_spaces(tmp_path):
    lines = good_lines()
    lines[1] = " 0.5 , -1e-1 , -1.0 "
    x, y = read_banana(write(tmp_path, lines, encoding="utf-8-sig"))
    np.testing.assert_array_equal(x[0], [0.5, -0.1])
    assert y[0] == 0.0


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("0.1,abc,1", "'abc' to float64 at row 1, column 2"),
        (",0.1,1", "'' to float64 at row 1, column 1"),
        ("nan,0.1,1", "expected finite numbers, found nan at row 1"),
        ("0.1,1e999,1", "expected finite numbers, found inf at row 1"),
        ("1_0,0.1,1", "'1_0' to float64"),
        ("0.1,0.1,0", "two numbers and the class, −1 or 1"),
        ("0.1,0.1,one", "'one' to float64 at row 1, column 3"),
        ("0.1,0.1", "columns changed from 3 to 2"),
        ("0.1,0.1,1,1", "columns changed from 3 to 4"),
    ],
)
def test_the_reader_names_file_and_row_of_a_malformed_row(tmp_path, line, expected):
    lines = good_lines()
    lines[2] = line
    path = write(tmp_path, lines)
    with pytest.raises(ValueError, match="expected") as caught:
        read_banana(path)
    assert str(caught.value).startswith(str(path))
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "the header must be At1,At2,Class, but is ''"),
        (b"At1,At2\n0,0\n", "the header must be At1,At2,Class, but is 'At1,At2'"),
        (b"0.1,0.2,1\n", "the header must be At1,At2,Class, but is '0.1,0.2,1'"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "expected rows of numbers"),
        (b"At1,At2,Class\n1,\xff,1", "another encoding; save it as UTF-8"),
        ("At1,At2,Class\n0,0,1".encode("utf-16"), "another encoding; save it as UTF-8"),
        (b"At1,At2,Class\n", "expected rows of numbers"),
        ("\n".join(good_lines(POINTS - 1)).encode(), "expected at least 1000 rows"),
    ],
)
def test_the_reader_says_what_is_wrong_with_the_file(tmp_path, content, expected):
    path = tmp_path / "banana.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="expected") as caught:
        read_banana(path)
    assert str(path) in str(caught.value)
    assert expected in str(caught.value)


@given(st.binary(max_size=200))
def test_the_reader_answers_any_bytes_with_one_clear_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(b"At1,At2,Class\n" + content)
    with pytest.raises(ValueError, match=r"any\.csv.*: expected"):
        read_banana(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv: no such file"):
        read_banana(tmp_path / "nowhere.csv")
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_banana(tmp_path)


# The likeness -------------------------------------------------------------------------------------


def neighbour_accuracy(x, y, k=15):
    """Share of points whose class is that of most of their k nearest neighbours."""
    squares = ((x[:, None] - x[None]) ** 2).sum(axis=-1)
    np.fill_diagonal(squares, np.inf)
    nearest = np.argpartition(squares, k, axis=1)[:, :k]
    return ((y[nearest].mean(axis=1) > 0.5) == y).mean()


def portrait(x, y):
    """Class balance, then mean and standard deviation of all points and of each class."""
    groups = (x, x[y == 0], x[y == 1])
    moments = [moment for group in groups for moment in (*group.mean(axis=0), *group.std(axis=0))]
    return np.array([y.mean(), *moments])


# measured on the real set, so that its likeness can be checked without it
REAL_PORTRAIT = np.array(
    [0.448, 0.0, 0.0, 1.0, 1.0, 0.054, 0.062, 0.915, 1.082, -0.066, -0.076, 1.091, 0.882]
)


def test_generated_points_have_the_moments_of_the_real_ones():
    x, y = generate_banana(50_000, rng())
    assert (x.shape, y.shape, x.dtype, y.dtype) == ((50_000, 2), (50_000,), float, float)
    assert set(y) == {0.0, 1.0}
    np.testing.assert_allclose(portrait(x, y), REAL_PORTRAIT, atol=0.03)


def test_generated_classes_overlap_as_the_real_ones_do():
    accuracies = [neighbour_accuracy(*generate_banana(POINTS, rng(seed))) for seed in range(5)]
    assert 0.87 < np.mean(accuracies) < 0.92  # the real set: 0.894


def test_generated_points_repeat_with_the_seed():
    np.testing.assert_array_equal(generate_banana(20, rng(1))[0], generate_banana(20, rng(1))[0])
    assert not np.array_equal(generate_banana(20, rng(1))[0], generate_banana(20, rng(2))[0])


@pytest.fixture(scope="module")
def real():
    if "GEONET_DATA" not in os.environ:
        pytest.skip("GEONET_DATA is not set: the real Banana set is not at hand")
    return read_banana(Path(os.environ["GEONET_DATA"], "banana.csv"))


def test_the_real_set_is_read_whole(real):
    x, y = real
    assert (x.shape, y.shape) == ((5300, 2), (5300,))
    assert y.sum() == 2376
    np.testing.assert_allclose(portrait(x, y), REAL_PORTRAIT, atol=0.001)


def test_the_likeness_is_as_hard_as_the_real_set(real):
    chosen = [rng(seed).choice(len(real[0]), POINTS, replace=False) for seed in range(10)]
    real_ones = np.mean([neighbour_accuracy(real[0][rows], real[1][rows]) for rows in chosen])
    seeds = range(10)
    likeness = np.mean([neighbour_accuracy(*generate_banana(POINTS, rng(s))) for s in seeds])
    assert likeness == pytest.approx(real_ones, abs=0.02)


# The split ----------------------------------------------------------------------------------------


def marked_points(count):
    """Points that carry their row number, through any shift and scale, in their order."""
    rows = np.arange(count, dtype=float)
    return np.column_stack([rows, rows**2]), (rows % 2)


def rows_of(part, train_rows):
    """Recover the row numbers from a standardized first feature."""
    return np.rint(part[0][:, 0] * train_rows.std() + train_rows.mean()).astype(int)


def test_the_clean_split_draws_without_replacement():
    x, y = marked_points(5300)
    split, chosen = split_banana(x, y, rng(4)), rng(4).choice(5300, size=1000, replace=False)
    parts = np.split(chosen, [640, 800])
    assert [len(part[0]) for part in split] == [640, 160, 200]
    for part, rows in zip(split, parts, strict=True):
        np.testing.assert_array_equal(rows_of(part, parts[0]), rows)
        np.testing.assert_array_equal(part[1][:, 0], y[rows])
    assert len(set(chosen)) == 1000


@pytest.mark.parametrize("count", [1000, 5300])
def test_the_paper_split_is_the_authors(count):
    x, y = marked_points(count)
    split = split_banana(x, y, rng(), "paper")
    index = np.random.RandomState(0).choice(count, size=1000, replace=False)
    permutation = np.random.RandomState(0).permutation(1000)
    test, train = index[permutation[:200]], index[permutation[200:]]
    np.testing.assert_array_equal(rows_of(split.train, train), train)
    np.testing.assert_array_equal(rows_of(split.test, train), test)
    # train_test_split(range(1000), test_size=0.2, random_state=0) begins its test part like this
    np.testing.assert_array_equal(rows_of(split.test, train)[:5], index[[993, 859, 298, 553, 672]])
    np.testing.assert_array_equal(split.validation[0], split.test[0])
    np.testing.assert_array_equal(split.validation[1], split.test[1])
    assert not set(train) & set(test)


@PROTOCOLS
def test_a_split_is_standardized_by_its_train_part_alone(protocol):
    x, y = generate_banana(1500, rng())
    split = split_banana(5 * x + 3, y, rng(1), protocol)
    np.testing.assert_allclose(split.train[0].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(split.train[0].std(axis=0), 1, rtol=1e-12)
    assert abs(split.test[0].mean(axis=0)).max() > 1e-6
    assert all(part_y.shape == (len(part_x), 1) for part_x, part_y in split)


@PROTOCOLS
def test_a_split_leaves_its_input_alone(protocol):
    x, y = generate_banana(1000, rng())
    kept = x.copy(), y.copy()
    split_banana(x, y, rng(), protocol)
    np.testing.assert_array_equal(x, kept[0])
    np.testing.assert_array_equal(y, kept[1])


def test_too_few_points_for_a_split_are_refused():
    with pytest.raises(ValueError, match="x must have at least 1000 points to choose from, not 9"):
        split_banana(*generate_banana(9, rng()), rng())


def test_the_global_random_state_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    split_banana(*generate_banana(POINTS, rng()), rng(), "paper")
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_an_unknown_protocol_is_refused_by_name():
    with pytest.raises(ValueError, match="protocol must be one of clean, paper, but is 'papr'"):
        split_banana(*generate_banana(POINTS, rng()), rng(), "papr")
