"""Checkpoints: one .npz file each, which is read whole or refused.

A file is a zip archive of .npy members, stored without compression, so `numpy.load` reads it too.
It has every array of the state under its path, such as "model/steps.0.weight", and the rest as JSON
in the bytes of the array "json". The archive's comment, at the end of the file, holds a version and
the SHA-256 of all bytes before the digest, which reveals any cut or flipped bit. Nothing is
unpickled, and every size that a file claims is checked against the bytes that are there.
"""

import contextlib
import hashlib
import json
import math
import os
import re
import zipfile
from pathlib import Path

import numpy as np

VERSION = 1
MARK = b"geonet checkpoint "
DIGITS = 64  # of SHA-256, in hexadecimal
LARGEST, LARGEST_REST = 2**33, 2**24  # bytes of a file, and of its JSON; larger ones are not read
REST = "json"  # name of the member with everything except the arrays
ARRAY = "npy"  # in it, {ARRAY: name} stands for an array
UNFINISHED = "unfinished.part"


class CheckpointNotWritten(OSError):
    """The disk is full, or writing failed for another reason. Older files are not touched."""


class Checkpoints:
    """The checkpoints of one run, in their own folder.

    Files are called step-00001234.npz. A file gets its name only when all of it is on the disk. So
    complete files remain when a process or machine stops at any moment.

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
        if keep < 1:
            raise ValueError(f"keep must be at least 1, but is {keep}")
        self.folder, self.keep = Path(folder), keep
        self.scores, self.refused = {}, []

    def save(self, state, step, score=None):
        """Write a checkpoint, then remove those that are no longer kept.

        Checkpoints of later steps are removed too, because they belong to an abandoned training.

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
            If the file cannot be written.
        TypeError, ValueError
            If the state holds something else, which is named, or too much besides its arrays.
        """
        arrays, path = {}, self._path(step)
        tree = _pack(state, "", arrays)
        scores = {s: value for s, value in self.scores.items() if s < step}
        if score is not None and not math.isnan(score):
            scores[step] = float(score)
        about = {"step": step, "scores": list(scores.items()), "state": tree}
        put_checkpoint(path, self.folder / UNFINISHED, about, arrays)
        self.scores = scores
        self._remove_old(step)

    def load(self):
        """(state, step) of the newest checkpoint that is whole, or None if there is none."""
        self.refused = []
        for step, path in sorted(self._files().items(), reverse=True):
            try:
                about, arrays = read_checkpoint(path)
                if about["step"] != step:
                    raise ValueError(f"it is the checkpoint of step {about['step']}")
                scores = {int(s): float(score) for s, score in about["scores"]}
                state = _unpack(about["state"], arrays)
            except Exception as error:  # a file from elsewhere may cause any error
                reason = str(error) or type(error).__name__
                self.refused.append(f"{path} cannot be used as a checkpoint: {reason}")
            else:
                self.scores = scores
                return state, step
        return None

    def clear(self):
        """Remove all checkpoints from the folder."""
        for path in (*self._files().values(), self.folder / UNFINISHED):
            path.unlink(missing_ok=True)
        self.scores = {}

    def _path(self, step):
        return self.folder / f"step-{step:08}.npz"

    def _files(self):
        """Step -> path, for everything that has the name of a checkpoint."""
        found = (re.fullmatch(r"step-(\d{8,18})\.npz", p.name) for p in self.folder.glob("step-*"))
        return {int(match[1]): self.folder / match[0] for match in found if match}

    def _remove_old(self, step):
        files = self._files()
        kept = set(sorted(s for s in files if s <= step)[-self.keep :])
        if self.scores:
            kept.add(max(self.scores, key=self.scores.get))
        self.scores = {s: score for s, score in self.scores.items() if s in kept & files.keys()}
        for s in files.keys() - kept:
            with contextlib.suppress(OSError):  # a leftover file should not end a run
                files[s].unlink(missing_ok=True)


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
        if not isinstance(key, str) or "/" in key or key in (ARRAY, REST):
            raise TypeError(f"state{path}: {key!r} cannot be a key in a checkpoint")
    return {key: _pack(entry, f"{path}/{key}", arrays) for key, entry in value.items()}


def _unpack(tree, arrays):
    """The inverse of `_pack`."""
    if isinstance(tree, list):
        return [_unpack(entry, arrays) for entry in tree]
    if not isinstance(tree, dict):
        return tree
    if tree.keys() == {ARRAY}:
        return arrays[tree[ARRAY]]
    return {key: _unpack(entry, arrays) for key, entry in tree.items()}


def put_checkpoint(path, unfinished, about, arrays):
    """Write a file under the name `unfinished`, in the same folder, and then rename it to path."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_checkpoint(unfinished, about, arrays)
        unfinished.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise CheckpointNotWritten(f"{path}: {error.strerror or error}") from error


def write_checkpoint(path, about, arrays):
    """Write a file and wait until it is on the disk."""
    rest = json.dumps(about).encode()
    if len(rest) > LARGEST_REST:
        raise ValueError(f"state without its arrays has {len(rest)} bytes, more than the "
                         f"{LARGEST_REST} allowed: long lists should be arrays")  # fmt: skip
    members = arrays | {REST: np.frombuffer(rest, np.uint8)}
    with open(path, "w+b") as file:
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in members.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(array, order="C"), (1, 0), False)
            archive.comment = _mark(VERSION) + bytes(DIGITS)
        file.seek(-DIGITS, os.SEEK_END)
        file.write(_digest(file))
        file.flush()
        os.fsync(file.fileno())


def read_checkpoint(path):
    """The inverse of `write_checkpoint`; an error says what is wrong with the file."""
    if not path.is_file():
        raise ValueError("it is not a file")
    with open(path, "rb") as file:
        _check_seal(file, os.fstat(file.fileno()).st_size)
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if sum(info.file_size for info in members) > os.fstat(file.fileno()).st_size:
                raise ValueError("its headers claim more bytes than it has")
            arrays = {i.filename.removesuffix(".npy"): _read_array(archive, i) for i in members}
    rest = arrays.pop(REST)
    if rest.nbytes > LARGEST_REST:
        raise ValueError(f"its JSON has {rest.nbytes} bytes, more than the {LARGEST_REST} allowed")
    return json.loads(rest.tobytes()), arrays


def _flush_folder(folder):
    """Wait until the names in a folder are on the disk, if the system can."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _mark(version):
    return MARK + b"%d sha256 " % version


def _digest(file):
    """Hexadecimal SHA-256 of all bytes before the last `DIGITS`; leaves the file position there."""
    rest, digest = file.seek(-DIGITS, os.SEEK_END), hashlib.sha256()
    file.seek(0)
    while piece := file.read(min(rest, 2**20)):
        digest.update(piece)
        rest -= len(piece)
    return digest.hexdigest().encode()


def _check_seal(file, size):
    """Refuse a file that does not end with the mark of a checkpoint and the right digest."""
    if size > LARGEST:
        raise ValueError(f"it has {size} bytes, more than the {LARGEST} allowed")
    tail = len(_mark(VERSION)) + DIGITS
    file.seek(-min(size, tail + 8), os.SEEK_END)
    seal = re.search(MARK + rb"(\d{1,8}) sha256 ([0-9a-f]{64})\Z", file.read())
    if not seal:
        raise ValueError("it is cut short or from another program")
    if int(seal[1]) != VERSION:
        raise ValueError(f"it has version {int(seal[1])}, but this program reads version {VERSION}")
    if _digest(file) != seal[2]:
        raise ValueError("it is damaged: its digest does not match")


def _read_array(archive, info):
    """A member as an array, with its header checked before memory is allocated."""
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{info.filename} is compressed")
    with archive.open(info) as member:
        if np.lib.format.read_magic(member) != (1, 0):
            raise ValueError(f"{info.filename} has an unknown format")
        shape, columns_first, dtype = np.lib.format.read_array_header_1_0(member)
        if dtype.kind not in "biufc":
            raise ValueError(f"{info.filename} holds {dtype}, but only numbers are read")
        data = member.read()
    if columns_first or len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{info.filename} does not match its header")
    return np.ndarray(shape, dtype, data).copy()
