"""Results on disk: each finished run is stored at once, whole or not at all.

A folder holds runs.jsonl (a header with experiment, configuration and versions, then one line per
run, in the order in which they finished), boundaries/ (one .npz per run with what was tracked),
figures/, and results.json, which is written from runs.jsonl when a sweep ends or is interrupted.
Lines are only ever appended: another header says that the versions changed. Of a sweep that was
killed, at most the last line is incomplete, and does not count.
"""

import contextlib
import json
import os
import zipfile
from pathlib import Path

import numpy as np

from geonet.experiments.harness.versions import versions
from geonet.files import write_whole

RENAMED = {"purpose": "split", "rates": "lrs"}  # fields that version 0.1.0 wrote
COMMON_FIELDS = ("method", "seed", "lr", "split", "metrics")
NOT_OURS = (ValueError, KeyError, TypeError, AttributeError)  # what other content raises
WRITTEN = (
    *("results.json", "runs.jsonl", "boundaries/*.npz", "figures/*.png", "figures/*.svg"),
    *("checkpoints/*/step-*.npz", "checkpoints/*/*.part"),
    # writes that a kill cut short
    *(".*.json.*", ".*.jsonl.*", "boundaries/.*.npz.*", "figures/.*.png.*", "figures/.*.svg.*"),
)


@contextlib.contextmanager
def locked(folder):
    """Keep other processes from running an experiment into a folder, inside a `with`.

    The operating system releases the lock when this process ends, however it ends. The file stays:
    if it were removed, two other processes could each lock a file of that name.

    Parameters
    ----------
    folder : str or Path
        Made if missing.

    Raises
    ------
    ValueError
        If another process is running into the folder, or if it is a file.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ValueError(f"--out must be a folder, but {folder} is a file or within one") from None
    with open(Path(folder, ".lock"), "wb") as file:
        try:
            with contextlib.suppress(ImportError):  # a system with neither has no such locks
                if os.name == "nt":
                    import msvcrt

                    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
                else:
                    import fcntl

                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(
                f"another sweep is running into {folder}: wait for it, or choose another --out"
            ) from None
        yield


class Runs:
    """The runs of one experiment under one configuration, to look at.

    Parameters
    ----------
    folder : str or Path
        Where their arrays are.
    entries : list of dict
        A header and runs, as they are stored.

    Attributes
    ----------
    experiment : str
    config : dict
    runs : dict
        What identifies a run -> the run, a dict with its metrics.
    versions : list of dict
        Those under which the runs were made, in the order of their first runs.
    """

    def __init__(self, folder, entries):
        self.folder = Path(folder)
        self.experiment, self.config = entries[0]["experiment"], entries[0]["config"]
        self.runs, self.versions, made_under = {}, [], []
        for entry in entries:
            if "metrics" in entry:
                self.runs[_key_of(entry)] = entry
                self.versions += [v for v in made_under if v not in self.versions]
            else:
                made_under = [entry.get("versions"), *entry.get("also_versions", ())]

    def _arrays_path(self, run):
        parts = [run["method"], f"seed{run['seed']}", f"lr{run['lr']}", run["split"]]
        parts += [f"{name}{value}" for name, value in sorted(case_of(run).items())]
        name = "_".join(parts).replace(":", "")  # not allowed in file names on Windows
        return self.folder / "boundaries" / f"{name}.npz"

    def find(self, **fields):
        """The runs with these values in these fields, in an order that does not depend on time."""

        def place(run):
            method = self.config["methods"].index(run["method"])
            return run["split"], sorted(case_of(run).items()), method, run["lr"] or 0, run["seed"]

        return sorted((r for r in self.runs.values() if fields.items() <= r.items()), key=place)

    def metrics(self, method, name, split="test", **fields):
        """A metric of a method's runs, in the order of the seeds; NaN where it is missing.

        Parameters
        ----------
        method, name, split : str
        **fields
            Further fields to match, such as lr.

        Returns
        -------
        numpy.ndarray
            (seeds,).
        """
        runs = self.find(method=method, split=split, **fields)
        found = {run["seed"]: run["metrics"].get(name) for run in runs}
        values = [found.get(seed) for seed in self.config["seeds"]]
        return np.array([np.nan if value is None else value for value in values], dtype=float)

    def lr(self, method, **fields):
        """The learning rate that a method was tested at; NaN if it has not been tested."""
        tested = self.find(method=method, split="test", **fields)
        return tested[0]["lr"] if tested else np.nan

    def find_with_arrays(self, **fields):
        """Yield each run with these values in these fields, together with its arrays, a dict."""
        for run in self.find(**fields):
            with np.load(self._arrays_path(run)) as stored:
                yield run, dict(stored)

    def arrays(self, method, seed, **fields):
        """The arrays of a method's test run of one seed, a dict."""
        for _, arrays in self.find_with_arrays(method=method, seed=seed, split="test", **fields):
            return arrays
        raise KeyError((method, seed))


class Results(Runs):
    """The runs of one experiment under one configuration, to which more can be added.

    Parameters
    ----------
    folder : str or Path
        Made if missing. If it holds results of the same configuration, they are loaded, and
        nothing is written until a run is added. Runs whose arrays are missing count as not done.
    experiment : str
    config : dict
        JSON values only.
    overwrite : bool
        Remove the results that are there, whatever their configuration.

    Raises
    ------
    ValueError
        If the folder holds results of another configuration, or files that are not geonet's.
    """

    def __init__(self, folder, experiment, config, overwrite=False):
        folder, config = Path(folder), json.loads(json.dumps(config))
        self._path, self._log = folder / "results.json", folder / "runs.jsonl"
        if overwrite:
            for pattern in WRITTEN:
                for path in folder.glob(pattern):
                    path.unlink()
        self._header = {"experiment": experiment, "config": config, "versions": versions()}
        entries = self._stored() or [self._header]
        super().__init__(folder, entries)
        old, new = (
            {"experiment": e["experiment"]} | e["config"] for e in (entries[0], self._header)
        )
        for name in new | old:
            if old.get(name) != new.get(name):
                before, now = json.dumps(old.get(name)), json.dumps(new.get(name))
                raise ValueError(
                    f"{folder} holds results of another configuration ({name} {before}, not "
                    f"{now}): choose another --out, or --overwrite"
                )
        self.runs = {k: r for k, r in self.runs.items() if zipfile.is_zipfile(self._arrays_path(r))}
        *_, self._last_header = (entry for entry in entries if "config" in entry)
        whole = _lines(entries)  # differs from the file if a kill or an earlier version wrote that
        self._whole = whole if not self._log.exists() or self._log.read_bytes() != whole else None
        if not self._path.exists():  # from here on, the folder belongs to this configuration
            (folder / "boundaries").mkdir(parents=True, exist_ok=True)
            self._append()
            self.write()

    def _stored(self):
        """The header and the runs that are stored; nothing in a new folder."""
        lines = self._log.read_bytes().splitlines(keepends=True) if self._log.exists() else []
        if lines and not lines[-1].endswith(b"\n"):  # by a kill
            del lines[-1]
        entries = []
        for number, line in enumerate(lines, start=1):
            try:
                entries.append(_checked(json.loads(line)))
            except NOT_OURS:
                raise ValueError(f"{self._log}, line {number}: not a run of geonet") from None
        if entries and "experiment" in entries[0]:
            return entries
        if entries or self._path.exists():  # of version 0.1.0, or without runs.jsonl
            return [*_read(self._path), *entries]
        return []

    def _append(self, *entries):
        if self._whole is not None:
            write_whole(self._log, lambda path: path.write_bytes(self._whole))
            self._whole = None
        with open(self._log, "ab") as file:
            file.write(_lines(entries))

    def has(self, run):
        """Whether a run with this method, seed, lr, split and case is stored and did not fail."""
        kept = self.runs.get(_key_of(run))
        return kept is not None and "failed" not in kept["metrics"]

    def add(self, run, arrays):
        """Store a finished run, in memory and on disk.

        Parameters
        ----------
        run : dict
            method, seed, lr, split ("test" or "validation"), metrics, and the fields of the case,
            such as a batch size, if the experiment has several cases.
        arrays : dict of str to numpy.ndarray
        """

        def save_arrays(path):
            with open(path, "wb") as file:
                np.savez_compressed(file, **arrays)

        (self.folder / "boundaries").mkdir(exist_ok=True)
        write_whole(self._arrays_path(run), save_arrays)
        now = self._header["versions"]
        self._append(*([] if self._last_header == self._header else [self._header]), run)
        self._last_header = self._header
        self.runs[_key_of(run)] = run
        if now not in self.versions:
            self.versions.append(now)

    def drop(self, runs):
        """Remove stored runs. Without its arrays, a line of runs.jsonl does not count."""
        for run in runs:
            self._arrays_path(run).unlink(missing_ok=True)
            del self.runs[_key_of(run)]

    def write(self):
        """Write results.json with all runs so far, in an order that does not depend on time.

        "versions" are those of the first runs. If later runs were added under other versions,
        "also_versions" lists these.
        """
        first, *others = (self.versions if self.runs else None) or [self._header["versions"]]
        content = {"experiment": self.experiment, "config": self.config, "versions": first}
        content |= {"also_versions": others} if others else {}
        content["runs"] = self.find()
        text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
        whole = f"{text}\n".encode()
        if not self._path.exists() or self._path.read_bytes() != whole:
            write_whole(self._path, lambda path: path.write_bytes(whole))


def read(folder):
    """The runs that a results.json holds. Their arrays need not be there.

    Raises
    ------
    ValueError
        If the folder has no results.json of geonet.
    """
    return Runs(folder, _read(Path(folder, "results.json")))


def _read(path):
    """The header and the runs in a results.json."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        runs = content.pop("runs")
        return [_checked(content), *map(_checked, runs)]
    except FileNotFoundError:
        raise ValueError(f"{path} is missing") from None
    except NOT_OURS:
        raise ValueError(f"{path} is not a results file of geonet") from None


def _checked(entry):
    """A header or a run under the names of today. Anything else raises one of `NOT_OURS`."""
    entry = _renamed(entry)
    if "metrics" in entry:
        _key_of(entry), entry["metrics"].items()
    else:
        entry["config"] = _renamed(entry["config"])
        entry["experiment"], entry["config"]["seeds"]
    return entry


def _renamed(fields):
    return {RENAMED.get(name, name): value for name, value in fields.items()}


def _lines(entries):
    return "".join(
        f"{json.dumps(entry, allow_nan=False, ensure_ascii=False)}\n" for entry in entries
    ).encode()


def case_of(run):
    """The fields of a run that identify its case, which only some experiments have."""
    return {name: value for name, value in run.items() if name not in COMMON_FIELDS}


def _key_of(run):
    return (*(run[name] for name in COMMON_FIELDS[:-1]), *sorted(case_of(run).items()))
