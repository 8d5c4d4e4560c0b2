"""Results on disk: each finished run is stored at once, whole or not at all.

A folder holds results.json (configuration, versions, one entry per run), runs.jsonl (one line per
run, in the order in which they finished), boundaries/ (one .npz per run with what was tracked) and
figures/. Runs are appended to runs.jsonl, because rewriting thousands of runs after each one would
take longer than the runs themselves. They are written to results.json when a sweep ends or is
interrupted. If a sweep was killed, the next one reads its runs from runs.jsonl.
"""

import contextlib
import json
import os
import platform
import zipfile
from importlib.metadata import version
from pathlib import Path

import numpy as np

import geonet
from geonet.files import write_whole
from geonet.kernels.switch import PLAIN

PACKAGES = ("numpy", "numba", "matplotlib")
RENAMED = {"purpose": "split", "rates": "lrs"}  # fields that version 0.1.0 wrote
LOCKED_BYTE = 2**30  # beyond the content, as a lock on Windows also prevents reading


def versions():
    """The versions of this package, of Python, and of the packages whose code computed."""
    found = {"geonet": geonet.__version__, "python": platform.python_version()}
    return found | {name: version(name) for name in PACKAGES if name != "numba" or not PLAIN}


@contextlib.contextmanager
def locked(folder):
    """Keep other processes from running an experiment into a folder, inside a `with`.

    The operating system releases the lock when this process ends, however it ends, so no lock is
    ever stale. The file stays: if it were removed, two other processes could each lock a file of
    that name.

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
    with open(Path(folder, ".lock"), "a+", encoding="ascii") as file:
        try:
            _lock(file)
        except OSError:
            file.seek(0)
            raise ValueError(
                f"another sweep is running into {folder} (process {file.read()}): "
                "wait for it, or choose another --out"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _lock(file):
    """Lock an open file, or raise OSError at once."""
    if os.name == "nt":
        import msvcrt

        file.seek(LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Results:
    """The runs of one experiment under one configuration.

    Parameters
    ----------
    folder : str or Path
        Made if missing. If it holds results of the same configuration, they are loaded, and
        nothing is written until a run is added.
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
        self.folder = Path(folder)
        self.experiment = experiment
        self.config = json.loads(json.dumps(config))
        self.runs = {}  # `_key_of` a run -> the run, with its metrics
        self.versions, self.also_versions = versions(), []  # of the first runs, and of later ones
        if overwrite:
            self._drop()
        if self._path.exists() or self._log.exists():
            self._load()
        else:
            (self.folder / "boundaries").mkdir(parents=True, exist_ok=True)
            self.write()  # from here on, the folder belongs to this configuration

    @property
    def _path(self):
        return self.folder / "results.json"

    @property
    def _log(self):
        return self.folder / "runs.jsonl"

    def _drop(self):
        """Remove the results that are there, and nothing else."""
        self._path.unlink(missing_ok=True)
        self._log.unlink(missing_ok=True)
        checkpoints = "checkpoints/*/step-*.npz", "checkpoints/*/step-*.npz.part"
        torn = ".results.json.*", "boundaries/.*.npz.*", "figures/.*.png.*", "figures/.*.svg.*"
        for pattern in (
            *("boundaries/*.npz", "figures/*.png", "figures/*.svg", *checkpoints),
            *torn,  # writes that were cut short when a process was killed
        ):
            for path in self.folder.glob(pattern):
                path.unlink()

    def _load(self):
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            found["config"] = _current_names(found["config"])  # fails unless it is a dict
            known = (
                found["experiment"],
                found["config"],
                {_key_of(r): r for r in map(_current_form, found["runs"])},
            )
        except FileNotFoundError:
            raise ValueError(
                f"{self._log} has no {self._path.name} next to it, which has the configuration: "
                "use --overwrite, or choose another --out"
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(
                f"{self._path} is not a results file of geonet: use --overwrite"
            ) from None
        if known[:2] != (self.experiment, self.config):
            differing = first_difference(found, self.experiment, self.config)
            raise ValueError(
                f"{self.folder} holds results of another configuration ({differing}): "
                "choose another --out, or --overwrite"
            )
        runs = known[2] | self._read_log()
        self.runs = {k: r for k, r in runs.items() if zipfile.is_zipfile(self._arrays_path(r))}
        if self.runs:
            self.versions = found.get("versions", self.versions)
            self.also_versions = found.get("also_versions", [])

    def _read_log(self):
        """The runs in runs.jsonl by their keys. A last line that is incomplete is removed."""
        if not self._log.exists():
            return {}
        with open(self._log, "r+b") as file:
            lines = file.read().splitlines(keepends=True)
            if lines and not lines[-1].endswith(b"\n"):
                file.truncate(sum(map(len, lines[:-1])))
                del lines[-1]
        runs = {}
        for number, line in enumerate(lines, start=1):
            try:
                run = _current_form(json.loads(line))
                runs[_key_of(run)] = run
            except (ValueError, KeyError, TypeError, AttributeError):
                raise ValueError(
                    f"{self._log}, line {number}: not a run of geonet: use --overwrite"
                ) from None
        return runs

    def _arrays_path(self, run):
        parts = [run["method"], f"seed{run['seed']}", f"lr{run['lr']}", run["split"]]
        parts += [f"{name}{value}" for name, value in sorted(_case_of(run).items())]
        name = "_".join(parts).replace(":", "")  # not allowed in file names on Windows
        return self.folder / "boundaries" / f"{name}.npz"

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

        line = f"{json.dumps(run, allow_nan=False, ensure_ascii=False)}\n".encode()
        (self.folder / "boundaries").mkdir(exist_ok=True)
        if (now := versions()) not in (self.versions, *self.also_versions):
            self.also_versions.append(now)
            self.write()
        write_whole(self._arrays_path(run), save_arrays)
        self.runs[_key_of(run)] = run
        with open(self._log, "ab") as file:
            file.write(line)

    def drop(self, runs):
        """Remove stored runs. Without its arrays, a line of runs.jsonl does not count."""
        for run in runs:
            self._arrays_path(run).unlink(missing_ok=True)
            del self.runs[_key_of(run)]

    def _ordered(self, runs):
        return sorted(runs, key=lambda run: _order_of(run, self.config))

    def write(self):
        """Write results.json with all runs so far, in an order that does not depend on time.

        "versions" are those of the first runs. If later runs were added under other versions,
        "also_versions" lists these.
        """
        content = {"experiment": self.experiment, "config": self.config, "versions": self.versions}
        if self.also_versions:
            content["also_versions"] = self.also_versions
        content["runs"] = self._ordered(self.runs.values())
        text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        if not self._path.exists() or self._path.read_text(encoding="utf-8") != text:
            write_whole(self._path, lambda path: path.write_text(text, encoding="utf-8"))

    def find(self, **fields):
        """The runs with these values in these fields, in the order of results.json."""
        return self._ordered(r for r in self.runs.values() if fields.items() <= r.items())

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


COMMON_FIELDS = ("method", "seed", "lr", "split", "metrics")


def _current_names(fields):
    """Fields of a run or a configuration as stored, under their names of today."""
    return {RENAMED.get(name, name): value for name, value in fields.items()}


def _current_form(run):
    """A run as stored, under the names of today."""
    return _current_names(run) | {"metrics": run["metrics"] | {}}  # fails unless it is a dict


def _case_of(run):
    """The fields of a run that identify its case, which only some experiments have."""
    return {name: value for name, value in run.items() if name not in COMMON_FIELDS}


def _key_of(run):
    return (*(run[name] for name in COMMON_FIELDS[:-1]), *sorted(_case_of(run).items()))


def _order_of(run, config):
    case = sorted(_case_of(run).items())
    return run["split"], case, config["methods"].index(run["method"]), run["lr"] or 0, run["seed"]


def first_difference(found, experiment, config):
    """Say what the first difference is between the results found and those to be made.

    Parameters
    ----------
    found : dict
        The content of a results.json.
    experiment : str
        Name of the experiment.
    config : dict

    Returns
    -------
    str
    """
    if found["experiment"] != experiment:
        return f"experiment {found['experiment']}, not {experiment}"
    for name in sorted(config.keys() | found["config"].keys()):
        old, new = found["config"].get(name), config.get(name)
        if old != new:
            return f"{name} {json.dumps(old)}, not {json.dumps(new)}"
    return "its format differs"
