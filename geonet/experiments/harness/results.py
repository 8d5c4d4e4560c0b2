"""Results on disk: each finished run is stored at once, whole or not at all.

A folder holds runs.jsonl (a header with experiment, configuration and versions, then one line per
run, in the order in which they finished), boundaries/ (one .npz per run with what was tracked),
figures/, and results.json, which is written from runs.jsonl when a sweep ends or is interrupted.
Each run adds a line, and another header says that the versions changed. The file is written whole
each time. Earlier versions could be killed within the last line, which then does not count.

What is not in runs.jsonl is not ours: a run names the file of its arrays, further lines name the
figures, and checkpoints say themselves what they are. Other files are neither replaced nor removed.
"""

import contextlib
import json
import os
import zipfile
from pathlib import Path

import numpy as np

from geonet.experiments.harness.versions import versions
from geonet.files import remove_unfinished, write_whole
from geonet.models import METHODS
from geonet.text import BadInput
from geonet.train import Checkpoints

COMMON_FIELDS = ("method", "seed", "lr", "metrics")
# what other content raises
NOT_OURS = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
FOLDERS = "boundaries", "figures", "checkpoints"
ENDINGS = ".png", ".svg"  # of a figure
FILES = "results.json", "runs.jsonl"  # the record is the last one to be removed


def check_folder(folder):
    """Refuse a folder for --out that holds something else under the names that are used there.

    Parameters
    ----------
    folder : str or Path
        Need not exist.

    Raises
    ------
    BadInput
        If the name is blank, the folder or one in it is a file, or its results are not geonet's.
    """
    if not str(folder).strip():
        raise BadInput("--out must name a folder, but is blank: a dot names the present one")
    folder = Path(folder)
    for path in (*folder.parents, folder, *(folder / name for name in FOLDERS)):
        if os.path.lexists(path) and not path.is_dir():
            raise BadInput(f"--out must be a folder, but {path} is a file: choose another --out")
    _stored(folder)


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
        If another process is running into the folder.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    with open(Path(folder, ".lock"), "ab") as file:  # whoever's it is, its content stays
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
    files : set of Path
        Where the arrays of these and of earlier runs are, and the figures.
    versions : list of dict
        Those under which the runs were made, in the order of their first runs.
    command : str or None
        The command line that made the first of them.
    """

    def __init__(self, folder, entries):
        self.folder = Path(folder)
        self.runs, self.files, self.versions, made_under = {}, set(), [], []
        self.command = None
        for entry in entries:
            if split := entry.get("split") or entry.get("purpose"):  # ours, of an earlier version
                run = {n: x for n, x in entry.items() if n not in ("split", "purpose")}
                path = self._arrays_path(run)
                self.files.add(path.with_stem(f"{path.stem}_{split}"))
            elif "metrics" in entry:
                self.runs[key_of(entry)] = entry
                self.files.add(self._arrays_path(entry))
                self.versions += [v for v in made_under if v not in self.versions]
            elif "figure" in entry:
                self.files |= {self.folder / "figures" / f"{entry['figure']}{e}" for e in ENDINGS}
            else:
                self.experiment, self.config = entry["experiment"], entry["config"]
                self.command = self.command or entry.get("command")
                made_under = [entry["versions"], *entry.get("also_versions", ())]

    def _arrays_path(self, run):
        parts = [run["method"], f"seed{run['seed']}", f"lr{run['lr']}"]
        parts += [f"{name}{value}" for name, value in sorted(case_of(run).items())]
        name = "_".join(parts).replace(":", "")  # not allowed in file names on Windows
        return self.folder / "boundaries" / f"{name}.npz"

    def is_whole(self, run):
        """Whether the arrays of a run are there."""
        return zipfile.is_zipfile(self._arrays_path(run))

    def find(self, **fields):
        """The runs with these values in these fields, in an order that does not depend on time."""

        def place(run):
            method = self.config["methods"].index(run["method"])
            return sorted(case_of(run).items()), method, run["lr"] or 0, run["seed"]

        return sorted((r for r in self.runs.values() if fields.items() <= r.items()), key=place)

    def metrics(self, method, name, **fields):
        """A metric of a method's runs, in the order of the seeds; NaN where it is missing.

        Parameters
        ----------
        method, name : str
        **fields
            Further fields to match. Without lr, the runs are those at the chosen rate.

        Returns
        -------
        numpy.ndarray
            (seeds,).
        """
        runs = self.find(method=method, **self._at_chosen_lr(method, fields))
        found = {run["seed"]: run["metrics"].get(name) for run in runs}
        values = [found.get(seed) for seed in self.config["seeds"]]
        return np.array([np.nan if value is None else value for value in values], dtype=float)

    def lr(self, method, **fields):
        """The learning rate of a method: the only one, or the best on validation data.

        That is the one with the best mean of the metric named by config["choice"], such as
        ["smallest", "validation_rmse"]. Rates that diverged on a seed are not chosen if there is
        another. It is NaN while a run is missing or has failed, as it might be that of the best.
        """
        candidates = self.config["lr"][method]
        if len(candidates) == 1:
            return candidates[0]
        runs = self.find(method=method, **fields)
        done = [run for run in runs if "failed" not in run["metrics"]]
        if len(done) < len(candidates) * len(self.config["seeds"]):
            return np.nan
        which, name = self.config["choice"]
        means = [self.metrics(method, name, lr=lr, **fields).mean() for lr in candidates]
        losses = np.negative(means) if which == "largest" else np.array(means)
        return candidates[int(np.argmin(np.nan_to_num(losses, nan=np.inf)))]

    def _at_chosen_lr(self, method, fields):
        """The fields to match, with the chosen learning rate if there is a choice."""
        open_choice = "lr" not in fields and len(self.config.get("lr", {}).get(method, ())) > 1
        return fields | {"lr": self.lr(method, **fields)} if open_choice else fields

    def find_with_arrays(self, **fields):
        """Yield each run with these values in these fields, together with its arrays, a dict."""
        for run in self.find(**fields):
            with np.load(self._arrays_path(run)) as stored:
                yield run, dict(stored)

    def arrays(self, method, seed, **fields):
        """The arrays of a method's run of one seed, a dict. Fields are those of `metrics`."""
        fields = self._at_chosen_lr(method, fields)
        for _, arrays in self.find_with_arrays(method=method, seed=seed, **fields):
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
        JSON values only. "data" is the path of the data. Only the name is stored, and it makes no
        difference to the configuration: other fields say what the data are.
    overwrite : bool
        Remove the results that are there, whatever their configuration.
    command : str, optional
        The command line, for readers.

    Raises
    ------
    ValueError
        If the folder holds results of another configuration, or files that are not geonet's under
        the names that are used here.
    """

    def __init__(self, folder, experiment, config, overwrite=False, command=None):
        folder, config = Path(folder), json.loads(json.dumps(config))
        self._path, self._log = (folder / name for name in FILES)
        stored = config | ({"data": Path(config["data"]).name} if config.get("data") else {})
        self._header = {"experiment": experiment, "config": stored, "versions": versions()}
        self._header |= {"command": command} if command else {}
        entries = _stored(folder, damaged=overwrite)
        for path in () if entries else folder.glob("boundaries/*_seed*_lr*.npz"):
            raise BadInput(f"{path} is there without a record of its run: move it away")
        if entries and overwrite:
            _remove(folder, entries)
        if overwrite or not entries:
            entries = [self._header]
        *_, self._last_header = (entry for entry in entries if "config" in entry)
        super().__init__(folder, entries)
        if stored.get("data") and self.config.get("data"):
            stored["data"] = self.config["data"]  # the name under which they were first used
        new = {"experiment": experiment} | stored
        old = {"experiment": self.experiment, "sha256": stored.get("sha256")} | self.config
        for name in new | old:
            if old.get(name) != new.get(name):
                before, now = json.dumps(old.get(name)), json.dumps(new.get(name))
                raise ValueError(
                    f"{folder} holds results of another configuration ({name} {before}, not "
                    f"{now}): choose another --out, or --overwrite"
                )
        self.config = config
        self.runs = {key: run for key, run in self.runs.items() if self.is_whole(run)}
        self._lines = _lines(entries)
        if not self._path.exists():  # from here on, the folder belongs to this configuration
            self._append()
            self.write()

    def _append(self, *entries):
        """Append to runs.jsonl. It is small enough to be written anew, whole or not at all."""
        lines = self._lines + _lines(entries)
        write_whole(self._log, lambda path: path.write_bytes(lines))
        self._lines = lines

    def has(self, run):
        """Whether a run with this method, seed, lr and case is stored and did not fail."""
        kept = self.runs.get(key_of(run))
        return kept is not None and "failed" not in kept["metrics"]

    def add(self, run, arrays):
        """Store a finished run, in memory and on disk.

        Parameters
        ----------
        run : dict
            method, seed, lr, metrics, and the fields of the case, such as a batch size, if the
            experiment has several cases.
        arrays : dict of str to numpy.ndarray
        """

        def save_arrays(temporary):
            with open(temporary, "wb") as file:
                np.savez_compressed(file, **arrays)

        write_whole(self._arrays_path(run), save_arrays)
        now = self._header["versions"]
        self.runs[key_of(run)] = run  # first, as the user may interrupt once the line is written
        if now not in self.versions:
            self.versions.append(now)
        self._append(*([] if self._last_header == self._header else [self._header]), run)
        self._last_header = self._header

    def save_figure(self, plot):
        """Save a figure as `geonet.plots.Plot.save` does, and record that it is ours."""
        saved = plot.save(self.folder / "figures")
        if Path(saved["path"]) not in self.files:
            self._append({"figure": plot.name})
        return saved

    def write(self):
        """Write results.json with all runs so far, in an order that does not depend on time.

        "versions" are those of the first runs. If later runs were added under other versions,
        "also_versions" lists these.
        """
        first, *others = (self.versions if self.runs else None) or [self._header["versions"]]
        content = {**self._header, "versions": first}
        content |= {"also_versions": others} if others else {}
        content["runs"] = self.find()
        text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
        whole = f"{text}\n".encode(errors="backslashreplace")  # which JSON reads, too
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
        content = json.loads(path.read_bytes())  # with or without a byte order mark
        runs = content.pop("runs")
        return [_checked(content, header=True), *(_checked(run, header=False) for run in runs)]
    except FileNotFoundError:
        raise BadInput(f"{path} is missing") from None
    except NOT_OURS:
        raise BadInput(f"{path} is not a results file of geonet: choose another folder") from None


def _stored(folder, damaged=False):
    """The headers, runs and figures that are stored in a folder; nothing if it is new.

    Lines that cannot be read are left out if they may be damaged, after a header of geonet.
    """
    path, log = (folder / name for name in FILES)
    entries, content = [], log.read_bytes() if log.exists() else b""
    lines = content.splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            entries.append(_checked(json.loads(line), header=not entries))
        except NOT_OURS:
            killed = number == len(lines) and not content.endswith(b"\n")
            if not entries or not (damaged or killed):
                raise BadInput(
                    f"{log}, line {number}: not a run of geonet; choose another folder"
                ) from None
    written = _read(path) if path.exists() else []
    return entries or written


def _remove(folder, entries):
    """Remove what the record says that was written to a folder, and the record itself last."""
    places = folder / "boundaries", folder / "figures"
    for path in Runs(folder, entries).files:
        if path.parent in places:  # a record from elsewhere may hold a name like ../../notes
            path.unlink(missing_ok=True)
    for path in folder.glob("checkpoints/*-*"):
        method, _, seed = path.name.rpartition("-")
        if method in METHODS and seed.isdecimal():
            Checkpoints(path).clear()
    for name in (*FILES, "boundaries/*.npz", "figures/*.png", "figures/*.svg"):
        remove_unfinished(folder / name)
    for name in FILES:
        (folder / name).unlink(missing_ok=True)


def _checked(entry, header):
    """A header, or else a run or a figure. For anything else, one of `NOT_OURS` is raised."""
    if header or "experiment" in entry:
        entry["experiment"], entry["config"]["seeds"], entry["versions"]["geonet"]
    elif entry.keys() != {"figure"}:
        hash(key_of(entry)), entry["metrics"].items()
    return entry


def _lines(entries):
    return "".join(
        f"{json.dumps(entry, allow_nan=False, ensure_ascii=False)}\n" for entry in entries
    ).encode(errors="backslashreplace")  # which JSON reads, too


def case_of(run):
    """The fields of a run that identify its case, which only some experiments have."""
    return {name: value for name, value in run.items() if name not in COMMON_FIELDS}


def key_of(run):
    """What identifies a run among those of a configuration."""
    return (*(run[name] for name in COMMON_FIELDS[:-1]), *sorted(case_of(run).items()))
