"""The UCI regression sets in the split layout of Hernández-Lobato & Adams (2015) and Gal &
Ghahramani (2016): one folder per set, with text files of numbers.

    data.txt             one row per line, numbers separated by blanks
    index_features.txt   the columns that are features, counted from 0
    index_target.txt     the column that is the target
    n_splits.txt         the number of splits into a train and a test part
    index_train_K.txt    the rows of the train part of split K, counted from 0
    index_test_K.txt     the rows of its test part
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from geonet.data.tables import Split, part, standardize_features

LARGEST = 1e100  # allowed number, so that sums of squares are finite


class Table(NamedTuple):
    """A set: features x (N, n), target y (N, 1), and the rows (train, test) of each split."""

    x: np.ndarray
    y: np.ndarray
    splits: list


def files(folder):
    """The files of a set in the order of the list above. All must exist; only n_splits.txt is read.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    list of Path

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_uci` does, for the folder, n_splits.txt, and files that are missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected a set with its data.txt")
    names = ["data.txt", "index_features.txt", "index_target.txt", "n_splits.txt"]
    found = [_there(folder / name) for name in names]
    for k in range(_only(found[-1], "the number of splits, at least 1", 1)):
        found += [_there(folder / f"index_{part}_{k}.txt") for part in ("train", "test")]
    return found


def _there(path):
    """The path of a file, checked."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; the split layout has data.txt, index_features.txt, "
            "index_target.txt, n_splits.txt, and index_train_K.txt and index_test_K.txt per split"
        )
    return path


def read_uci(folder):
    """Read a set from its folder.

    Parameters
    ----------
    folder : str or Path
        Blank lines in its files are ignored.

    Returns
    -------
    Table

    Raises
    ------
    FileNotFoundError
        If the folder or one of its files is missing.
    ValueError
        If a file is malformed: text or NaN among the numbers, a number beyond ±1e100, rows of
        different lengths, an index that is out of range or occurs twice, a target among the
        features, a part without rows, a train part with one row, or a row in both parts of a split.
        The message names the file, the line and the column (from 1), what was found and what was
        expected.
    """
    data, features, target, _, *parts = files(folder)
    rows = _rows(data)
    columns = rows.shape[1]
    chosen = _indices(features, columns, "a column of data.txt")
    goal = _only(target, f"a column of data.txt, 0…{columns - 1}", 0, columns)
    if goal in chosen:
        raise ValueError(f"{target}: column {goal} is the target, but also a feature in {features}")
    rows_of = [_indices(path, len(rows), "a row of data.txt") for path in parts]
    splits = list(zip(rows_of[::2], rows_of[1::2], strict=True))
    for k, both in enumerate(splits):
        if len(both[0]) < 2:
            raise ValueError(f"{parts[2 * k]}: expected at least 2 rows to train on, found 1")
        shared = np.intersect1d(*both)
        if shared.size:
            raise ValueError(
                f"{parts[2 * k + 1]}: expected rows that are not in {parts[2 * k].name}, "
                f"but found {shared.size} of these, the first of them {shared[0]}"
            )
    return Table(rows[:, chosen], rows[:, [goal]], splits)


def split_uci(table, k, rng, protocol="clean"):
    """One split, with features standardized by the train part.

    Parameters
    ----------
    table : Table
    k : int
        Number of the split, from 0.
    rng : numpy.random.Generator
        Used by "clean" only.
    protocol : {"clean", "paper"}
        "clean" takes a fifth of the train rows, drawn from `rng`, as the validation part.
        "paper" trains on all of them and uses the test part as the validation part too.

    Returns
    -------
    Split
        Pairs x (·, n), y (·, 1), with the target in its own units.

    Raises
    ------
    ValueError
        If there is no such split, or the protocol is not one of the two.
    """
    if not 0 <= k < len(table.splits):
        raise ValueError(f"split must be one of 0…{len(table.splits) - 1}, not {k}")
    rows, test = table.splits[k]
    train, validation = part(rows, test, rng, protocol)
    return standardize_features(
        Split(*((table.x[chosen], table.y[chosen]) for chosen in (train, validation, test)))
    )


def _lines(path):
    """Pairs (line number, words) of every line that is not blank."""
    found = [(i, line.split()) for i, line in enumerate(path.read_bytes().splitlines(), start=1)]
    return [(i, words) for i, words in found if words]


def _number(path, line, column, word):
    """A finite number, checked."""
    try:
        value = float(word) if b"_" not in word else math.nan  # float() accepts 1_000
    except ValueError:
        value = math.nan
    if abs(value) > LARGEST and math.isfinite(value):
        raise ValueError(
            f"{path}, line {line}, column {column}: expected a number within ±{LARGEST:g}, "
            f"found {_shown(word)}"
        )
    if not math.isfinite(value):
        raise ValueError(
            f"{path}, line {line}, column {column}: expected a finite number, found {_shown(word)}"
        )
    return value


def _shown(word):
    """What was found, quoted, and cut short if it is long."""
    return repr(word[:40].decode("utf-8", "replace") + ("…" if len(word) > 40 else ""))


def _rows(path):
    """All numbers of data.txt, (N, columns)."""
    lines = _lines(path)
    if not lines:
        raise ValueError(f"{path}: expected one row of numbers per line, found none")
    first, columns = lines[0][0], len(lines[0][1])
    for line, words in lines:
        if len(words) != columns:
            raise ValueError(
                f"{path}, line {line}: expected {columns} numbers as in line {first}, "
                f"found {len(words)}"
            )
    return np.array(
        [[_number(path, line, c, w) for c, w in enumerate(ws, start=1)] for line, ws in lines]
    )


def _whole_numbers(path, what, low, high):
    """Whole numbers low ≤ i < high, separated by any white space."""
    values = []
    for line, words in _lines(path):
        for column, word in enumerate(words, start=1):
            value = _number(path, line, column, word)  # some sets have 3.0e+00
            if value != int(value) or not low <= value < high:
                raise ValueError(
                    f"{path}, line {line}, column {column}: expected {what}, found {_shown(word)}"
                )
            values.append(int(value))
    if not values:
        raise ValueError(f"{path}: expected {what}, found nothing")
    return values


def _only(path, what, low, high=math.inf):
    """The one whole number of a file."""
    values = _whole_numbers(path, what, low, high)
    if len(values) > 1:
        raise ValueError(f"{path}: expected one number, {what}, found {len(values)}")
    return values[0]


def _indices(path, count, of):
    """Indices 0…count − 1, each once, as an array."""
    what = f"{of}, 0…{count - 1}"
    indices = np.array(_whole_numbers(path, what, 0, count))
    values, times = np.unique(indices, return_counts=True)
    if (times > 1).any():
        raise ValueError(f"{path}: expected every index once, found {values[times > 1][0]} twice")
    return indices
