"""The reader of the UCI split layout: what it reads, and what it refuses and how."""

import os
from pathlib import Path

import numpy as np
import pytest

from geonet.data.uci import Table, files, read_uci, rows_of_split, split_uci

ROWS = 20


def write(folder, **changed):
    """A set of 20 rows and 2 splits; `changed` holds the text of files that are to differ."""
    texts = {
        "data": "".join(f"{i} {i * i}\t{i}.5 {i % 3}\n" for i in range(ROWS)) + "\n",
        "index_features": "3\n0",
        "index_target": "2\n",
        "n_splits": "2\n",
        "index_train_0": "\n".join(map(str, range(2, ROWS))),
        "index_test_0": "0\n1\n",
        "index_train_1": " ".join(f"{i}.0e+00" for i in range(ROWS - 3)),
        "index_test_1": "18\n19",
    } | changed
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        if text is not None:
            (folder / f"{name}.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def rng(seed=0):
    return np.random.default_rng(seed)


def test_columns_and_rows_are_those_that_the_indices_name(tmp_path):
    table = read_uci(write(tmp_path / "set"))
    i = np.arange(ROWS)
    np.testing.assert_array_equal(table.x, np.column_stack([i % 3, i]))
    np.testing.assert_array_equal(table.y, i[:, None] + 0.5)
    (train, test), (other_train, other_test) = table.splits
    np.testing.assert_array_equal(train, i[2:])
    np.testing.assert_array_equal(test, [0, 1])
    np.testing.assert_array_equal(other_train, i[:17])
    np.testing.assert_array_equal(other_test, [18, 19])
    assert len(files(tmp_path / "set")) == 8


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("data", None, "data.txt: no such file; expected the split layout: data.txt, index_f"),
        ("index_test_1", None, "index_test_1.txt: no such file"),
        ("n_splits", None, "n_splits.txt: no such file"),
        ("n_splits", "3", "index_train_2.txt: no such file"),
        ("data", "\n\n", "data.txt: expected rows of numbers: .* no data"),
        ("data", "1 2 3 4\n\n1 nan 3 4\n", "data.txt: expected finite numbers, found nan at row 1"),
        ("data", "1 2 3 4\n1 2 3 -inf\n", "data.txt: expected finite numbers, found -inf at row 1"),
        ("data", "1,2,3,4\n", "data.txt: expected rows of numbers: .*'1,2,3,4'.* row 0"),
        ("data", "1 2 1_0 4\n", "data.txt: expected rows of numbers: .*'1_0'"),
        ("data", b"1 2 3 \xff\xfe\n", "data.txt: expected rows of numbers: "),
        ("data", "\n1 2 3 4\n1 2 3\n", "columns changed from 4 to 3"),
        ("index_features", "0\n4", "expected columns of data.txt, whole numbers from 0 to 3"),
        ("index_features", "", "index_features.txt: expected rows of numbers"),
        ("index_features", "0 1 0", "columns of data.txt, .*, each once"),
        ("index_features", "0 2", "index_target.txt: expected one column, and none of those in"),
        ("index_target", "1 2", "index_target.txt: expected one column"),
        ("n_splits", "0", "n_splits.txt: expected the number of splits"),
        ("n_splits", "inf", "n_splits.txt: expected finite numbers"),
        ("n_splits", "1.5", "n_splits.txt: expected the number of splits"),
        ("index_train_0", "5", "index_train_0.txt: expected at least 2 rows"),
        ("index_train_0", "5\n20", "index_train_0.txt: expected rows of data.txt, .* 0 to 19"),
        ("index_test_0", "-1", "index_test_0.txt: expected rows of data.txt, .* 0 to 19"),
        ("index_test_1", "18\n3\n4", "index_train_1.txt: .* none of those in index_test_1.txt"),
    ],
)
def test_a_wrong_file_is_named_with_what_was_expected(tmp_path, name, text, message):
    folder = write(tmp_path / "set", **{name: text})
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_uci(folder)


def test_files_from_windows_are_read_and_other_encodings_named(tmp_path):
    expected = read_uci(write(tmp_path / "set"))
    for path in (tmp_path / "set").iterdir():
        lines = path.read_text(encoding="utf-8").split("\n")
        path.write_bytes("\r\n".join([*lines, "", " "]).encode("utf-8-sig"))
    found = read_uci(tmp_path / "set")
    np.testing.assert_array_equal(found.x, expected.x)
    np.testing.assert_array_equal(found.y, expected.y)
    np.testing.assert_array_equal(
        np.concatenate(found.splits[1]), np.concatenate(expected.splits[1])
    )
    for encoding, text in (("utf-16", "1 2 3 4\n"), ("latin-1", "1 2 3 4 µ\n")):
        write(tmp_path / "set", data=text.encode(encoding))
        with pytest.raises(ValueError, match=r"data.txt: .* another encoding; save it as UTF-8$"):
            read_uci(tmp_path / "set")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"wine/data.txt: no such file; expected the"):
        read_uci(tmp_path / "wine")


def test_a_clean_split_has_the_rows_of_its_files_with_features_standardized(tmp_path):
    table = read_uci(write(tmp_path / "set"))
    split = split_uci(table, 0, rng())
    assert [len(y) for _, y in split] == [15, 3, 2]
    np.testing.assert_array_equal(split.test[1], table.y[:2])
    np.testing.assert_allclose(split.train[0].mean(axis=0), 0, atol=1e-12)


def test_the_authors_split_of_a_seed_tests_the_first_fifth_of_its_permutation(tmp_path):
    """RandomState(3).permutation(20), whose first 4 rows are the test part, written out here."""
    table = read_uci(write(tmp_path / "set"))
    order = [14, 2, 1, 17, 4, 16, 6, 7, 15, 12, 9, 11, 19, 18, 13, 5, 0, 8, 3, 10]
    rows, test = rows_of_split(table, 3, "paper")
    assert [*test, *rows] == order
    split = split_uci(table, 3, None, "paper")  # draws nothing more
    np.testing.assert_array_equal(split.test[1], table.y[order[:4]])
    np.testing.assert_array_equal(split.validation[1], split.test[1])
    np.testing.assert_array_equal(split.train[1], table.y[order[4:]])
    x = table.x[order[4:]]
    for (found, _), part in zip(split, (order[4:], order[:4], order[:4]), strict=True):
        np.testing.assert_allclose(found, (table.x[part] - x.mean(0)) / x.std(0), atol=1e-12)


@pytest.mark.parametrize(("count", "expected"), [(20, 4), (21, 5), (506, 102), (1030, 206)])
def test_the_authors_test_part_is_a_fifth_rounded_up(count, expected):
    table = Table(np.zeros((count, 1)), np.zeros((count, 1)), [])
    for k in (0, 123):  # any seed is a split, whatever the set's own are
        rows, test = rows_of_split(table, k, "paper")
        assert len(test) == expected
        assert sorted([*rows, *test]) == list(range(count))


def test_an_unknown_split_or_protocol_is_refused(tmp_path):
    table = read_uci(write(tmp_path / "set"))
    with pytest.raises(ValueError, match="split must be one of 0…1, not 2"):
        split_uci(table, 2, rng())
    with pytest.raises(ValueError, match="protocol must be one of clean, paper, but is 'both'"):
        split_uci(table, 0, rng(), "both")


@pytest.mark.skipif("GEONET_DATA" not in os.environ, reason="GEONET_DATA names no folder of data")
def test_the_real_sets_have_the_sizes_that_are_known():
    folder = Path(os.environ["GEONET_DATA"], "uci")
    known = {"boston": (506, 13), "concrete": (1030, 8), "energy": (768, 8), "power": (9568, 4),
             "naval": (11934, 16), "wine": (1599, 11), "yacht": (308, 6)}  # fmt: skip
    found = [path for path in folder.glob("*") if path.name in known]
    assert found
    for path in found:
        table = read_uci(path)
        assert table.x.shape == known[path.name]
        assert len(table.splits) == 20
        assert all(len(np.union1d(*both)) == len(table.x) for both in table.splits)
