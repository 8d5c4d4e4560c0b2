"""Checkpoints of a run, and saved states of a module: one .npz file each, as `numpy.savez` writes.

The arrays have their own names, and the rest is JSON in the bytes of the array "json", which stands
first, so that the beginning of a file tells whether it is a checkpoint. A file is written beside
its place and then renamed, so no incomplete file ever has the name of a complete one. When it is
read, the CRC-32 of every array is checked first, and nothing is unpickled.
"""

import contextlib
import errno
import json
import math
import os
import re
import zipfile
from pathlib import Path

import numpy as np

from geonet.files import remove_unfinished, write_whole
from geonet.nn.module import matching
from geonet.text import check_counts

RECORD = "json"  # name of the array with everything except the arrays
ARRAY = "npy"  # in the record, {ARRAY: name} stands for an array
RESERVED = RECORD, ARRAY, "file", "allow_pickle"  # the last two are arguments of `numpy.savez`
FULL = errno.ENOSPC, errno.EDQUOT  # no space on the disk, or none left for this user


class CheckpointNotWritten(OSError):
    """The disk is full, or writing failed for another reason. The last whole one is still there."""


class Checkpoints:
    """The checkpoints of one run, in their own folder.

    Files are called step-00001234.npz. A file gets its name only when all of it is on the disk. So
    complete files remain when a process or machine stops at any moment. Files that are no
    checkpoints are neither replaced nor removed, whatever they are called.

    Parameters
    ----------
    folder : path
        Created when it is needed.
    keep : int
        How many of the last checkpoints are kept, in addition to the one with the best score.

    Attributes
    ----------
    scores : dict
        Step -> score, for the kept checkpoints that have one.
    refused : list of str
        A sentence for each file that the last `load` refused, with its name and the reason.
    """

    def __init__(self, folder, keep=3):
        check_counts(1, keep=keep)
        self.folder, self.keep = Path(folder), keep
        self.scores, self.refused = {}, []

    def save(self, state, step, score=None):
        """Write a checkpoint, then remove those that are no longer kept.

        Checkpoints of later steps are removed too, because they belong to an abandoned training.
        If the disk is full, the oldest one is removed first, but never the last that is whole.

        Parameters
        ----------
        state : dict
            Keys are str without "/"; values are arrays of numbers, numbers, str, bool, None, and
            lists and dicts of these. NumPy numbers are loaded as Python numbers.
        step : int
        score : float, optional
            Larger is better; NaN counts as none.

        Raises
        ------
        CheckpointNotWritten
            If the file cannot be written, or a file of that name is not a checkpoint.
        TypeError
            If the state holds something else, which is named.
        """
        arrays, files, path = {}, self._own(), self.folder / f"step-{step:08}.npz"
        tree = _pack(state, "", arrays)
        if path.exists() and step not in files:
            raise CheckpointNotWritten(f"{path} is there and is not a checkpoint: move it away")
        remove_unfinished(self.folder / "step-*.npz")
        scores = {s: known for s, known in self.scores.items() if s < step and s in files}
        if score is not None and not math.isnan(score):
            scores[step] = float(score)
        record = {"scores": list(scores.items()), "state": tree}
        try:
            _write(path, record, arrays)
        except CheckpointNotWritten as error:
            if error.__cause__.errno not in FULL or not self._give_way(files):
                raise
            _write(path, record, arrays)
        files = self._own()
        last = sorted(s for s in files if s <= step)[-self.keep :]
        kept = {*last, max(scores.keys() & files, key=scores.get, default=step)}
        self.scores = {s: known for s, known in scores.items() if s in kept}
        for s in files.keys() - kept:
            with contextlib.suppress(OSError):  # a leftover file should not end a run
                files[s].unlink()

    def load(self):
        """(state, step) of the newest checkpoint that is whole, or None if there is none."""
        self.refused = []
        for step, path in sorted(self._files().items(), reverse=True):
            try:
                with _naming(path, "checkpoint"):
                    record, _ = _read(path)
                    state, scores = record["state"], dict(record["scores"])
            except ValueError as error:
                self.refused.append(str(error))
            else:
                self.scores = scores
                return state, step
        return None

    def clear(self):
        """Remove all checkpoints from the folder, and what killed processes left of some."""
        remove_unfinished(self.folder / "step-*.npz")
        for path in (*self._own().values(), *self.folder.glob("step-????????.npz.part")):
            path.unlink()
        self.scores = {}

    def _files(self):
        """Step -> path, for everything that has the name of a checkpoint."""
        found = (re.fullmatch(r"step-(\d{8,})\.npz", p.name) for p in self.folder.glob("step-*"))
        return {int(match[1]): self.folder / match[0] for match in found if match}

    def _own(self):
        """Those that are checkpoints, whole or damaged."""
        return {step: path for step, path in self._files().items() if _is_checkpoint(path)}

    def _give_way(self, files):
        """Remove the oldest checkpoint, the best last, and return whether there was one to spare.

        The newest one that is whole stays, because nothing else may be left to continue from.
        """
        _, whole = Checkpoints(self.folder).load() or (None, None)
        best = max(self.scores, key=self.scores.get, default=None)
        spare = sorted(files.keys() - {whole}, key=lambda s: (s == best, s))
        for s in spare[:1]:
            files[s].unlink()
        return bool(spare)


def save_state(path, module):
    """Write parameters and buffers of a module.

    The file is written under a temporary name in the same folder and then renamed, so that `path`
    is never incomplete. `numpy.load` reads it too. The file also has the eps of normalizations,
    which belongs to the function but not to the `state_dict`.

    Parameters
    ----------
    path : path
        For example "model.npz". Its folder is created, and a file of that name is replaced.
    module : geonet.nn.Module

    Raises
    ------
    CheckpointNotWritten
        If the file cannot be written; an earlier file then stays.
    """
    _write(Path(path), {"eps": _eps(module)}, module.state_dict())


def load_state(path, module):
    """Read a file of `save_state` into a module of the same structure, in place.

    Parameters
    ----------
    path : path
    module : geonet.nn.Module
        Its dtype stays.

    Raises
    ------
    ValueError
        If the file is damaged, not from `save_state`, or from a module with other names or shapes.
        Then nothing is changed.
    """
    with _naming(path, "saved state"):
        record, state = _read(path)
        eps = record["eps"]
    eps = matching(eps, _eps(module), f"{path}: eps of normalizations")
    module.load_state_dict(state)
    for name, part in module.named_modules():
        if name in eps:
            part.eps = eps[name]


def _eps(module):
    """The eps of each normalization, by its dotted name."""
    modules = module.named_modules()
    return {name: float(part.eps) for name, part in modules if hasattr(part, "eps")}


def _pack(value, path, arrays):
    """The value in JSON's types, with its arrays put into `arrays` under their paths."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list):
        return [_pack(entry, f"{path}/{i}", arrays) for i, entry in enumerate(value)]
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        arrays[path[1:]] = value
        return {ARRAY: path[1:]}
    if not isinstance(value, dict):
        raise TypeError(f"state{path} must be made of arrays, numbers, str, None, lists and dicts, "
                        f"but is a {type(value).__name__}")  # fmt: skip
    for key in value:
        if not isinstance(key, str) or "/" in key or key in RESERVED:
            raise TypeError(f"state{path}: {key!r} cannot be a key in a checkpoint")
    return {key: _pack(entry, f"{path}/{key}", arrays) for key, entry in value.items()}


def _write(path, record, arrays):
    """Write a record and arrays to a file, which gets its name when all of it is on the disk."""
    if reserved := arrays.keys() & set(RESERVED):
        raise TypeError(f"{path}: an array cannot be called {reserved.pop()!r}")
    members = {RECORD: np.frombuffer(json.dumps(record).encode(), np.uint8)} | arrays

    def write(temporary):
        with open(temporary, "wb") as file:
            np.savez(file, **members)
            file.flush()
            os.fsync(file.fileno())

    try:
        write_whole(path, write)
    except OSError as error:
        raise CheckpointNotWritten(f"{path}: {error.strerror or error}") from error


def _is_checkpoint(path):
    """Whether a file is a checkpoint, or the beginning of one that is damaged."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        start = file.read(1000)
        file.seek(-200, os.SEEK_END)  # the list of arrays; earlier versions wrote the record last
        return b'{"scores": ' in start or f"{RECORD}.npy".encode() in file.read()
    return False


def _read(path):
    """The record in a file, with the arrays for which it holds names, and all arrays by name."""
    with zipfile.ZipFile(path) as archive:  # `numpy.load` would not check all of an array's bytes
        if damaged := archive.testzip():
            raise ValueError(f"{damaged} in it is damaged")
    with np.load(path, allow_pickle=False) as file:
        arrays = dict(file)

    def with_array(tree):
        return arrays[tree[ARRAY]] if tree.keys() == {ARRAY} else tree

    return json.loads(arrays.pop(RECORD).tobytes(), object_hook=with_array), arrays


@contextlib.contextmanager
def _naming(path, kind):
    """Name a file in any error of reading it, because any may occur if it is damaged or foreign."""
    try:
        yield
    except MemoryError:  # says nothing about the file
        raise
    except Exception as error:
        raise ValueError(
            f"{path} cannot be used as a {kind}, because it is missing, cut short, damaged or from "
            f"another program ({type(error).__name__}: {error})"
        ) from error
