"""Results on disk: each finished run is kept at once, whole or not at all.

A folder holds results.json (configuration, versions, one entry a run), boundaries/ (an .npz a run
with what was tracked) and figures/.
"""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np

import geonet

PACKAGES = ("numpy", "numba", "matplotlib")


def versions():
    """Of this package, Python and what it stands on."""
    found = {"geonet": geonet.__version__, "python": platform.python_version()}
    return found | {name: version(name) for name in PACKAGES}


def write_whole(path, write):
    """Call write(temporary path), then rename; nothing is left of a write that fails.

    Parameters
    ----------
    path : Path
    write : function
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


class Results:
    """The runs of one experiment under one configuration.

    Parameters
    ----------
    folder : str or Path
        Made if missing. If it holds results of the same configuration, these are taken over.
    experiment : str
    config : dict
        JSON values only.
    overwrite : bool
        Drop results of another configuration, or of an older run of this one.

    Raises
    ------
    ValueError
        If the folder holds another configuration's results, or a results.json that is not ours.
    """

    def __init__(self, folder, experiment, config, overwrite=False):
        self.folder = Path(folder)
        self.experiment = experiment
        self.config = json.loads(json.dumps(config))
        self.runs = {}  # what a run is called -> the run, with its metrics
        if overwrite:
            self._drop()
        elif self._path.exists():
            self._take_over()
        (self.folder / "boundaries").mkdir(parents=True, exist_ok=True)
        self._write()  # from here on the folder is taken

    @property
    def _path(self):
        return self.folder / "results.json"

    def _drop(self):
        """Remove what an earlier configuration left, and nothing else."""
        self._path.unlink(missing_ok=True)
        checkpoints = "checkpoints/*/step-*.npz", "checkpoints/*/unfinished.part"
        for pattern in ("boundaries/*.npz", "figures/*.png", "figures/*.svg", *checkpoints):
            for path in self.folder.glob(pattern):
                path.unlink()

    def _take_over(self):
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            known = (
                found["experiment"],
                dict(found["config"]),
                {_key(r): r for r in found["runs"]},
            )
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"{self._path} is no results file of geonet: use --overwrite"
            ) from None
        if known[:2] != (self.experiment, self.config):
            differing = _first_difference(found, self.experiment, self.config)
            raise ValueError(
                f"{self.folder} holds results of another configuration ({differing}): "
                "choose another --out, or --overwrite"
            )
        self.runs = {k: run for k, run in known[2].items() if self._track_of(run).exists()}

    def _track_of(self, run):
        words = [run["method"], f"seed{run['seed']}", f"lr{run['lr']}", run["purpose"]]
        words += [f"{name}{value}" for name, value in sorted(_case(run).items())]
        return self.folder / "boundaries" / f"{'_'.join(words)}.npz"

    def has(self, run):
        """Whether a run with this method, seed, lr, purpose and case has been kept."""
        return _key(run) in self.runs

    def add(self, run, arrays):
        """Keep a finished run.

        Parameters
        ----------
        run : dict
            method, seed, lr, purpose ("test" or "validation"), metrics, and fields of the case,
            such as a batch size, where an experiment goes through several.
        arrays : dict of str to numpy.ndarray
        """

        def save_arrays(path):
            with open(path, "wb") as file:
                np.savez_compressed(file, **arrays)

        write_whole(self._track_of(run), save_arrays)
        self.runs[_key(run)] = run
        self._write()

    def _ordered(self):
        return sorted(self.runs.values(), key=lambda run: _order(run, self.config))

    def _write(self):
        content = {"experiment": self.experiment, "config": self.config, "versions": versions()}
        content["runs"] = self._ordered()
        text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        write_whole(self._path, lambda path: path.write_text(text, encoding="utf-8"))

    def find(self, **fields):
        """The runs that have these values in these fields, in the order of the file."""
        return [r for r in self._ordered() if fields.items() <= r.items()]

    def metrics(self, method, name, purpose="test", **fields):
        """A metric of a method's runs, in the order of the seeds; NaN where a run has none.

        Parameters
        ----------
        method, name, purpose : str
        **fields
            Further fields that a run must have, such as lr.

        Returns
        -------
        numpy.ndarray
            (seeds,).
        """
        runs = self.find(method=method, purpose=purpose, **fields)
        found = {run["seed"]: run["metrics"].get(name) for run in runs}
        values = [found.get(seed) for seed in self.config["seeds"]]
        return np.array([np.nan if value is None else value for value in values], dtype=float)

    def rate(self, method, **fields):
        """The learning rate that a method was tested at."""
        return self.find(method=method, purpose="test", **fields)[0]["lr"]

    def arrays(self, method, seed, **fields):
        """What was tracked in a method's tested run of one seed, a dict of arrays."""
        for run in self.find(method=method, seed=seed, purpose="test", **fields):
            with np.load(self._track_of(run)) as stored:
                return dict(stored)
        raise KeyError((method, seed))


COMMON = ("method", "seed", "lr", "purpose", "metrics")


def _case(run):
    """The fields of a run that only some experiments have."""
    return {name: value for name, value in run.items() if name not in COMMON}


def _key(run):
    return (*(run[name] for name in COMMON[:-1]), *sorted(_case(run).items()))


def _order(run, config):
    case = sorted(_case(run).items())
    return run["purpose"], case, config["methods"].index(run["method"]), run["lr"] or 0, run["seed"]


def _first_difference(found, experiment, config):
    if found["experiment"] != experiment:
        return f"experiment {found['experiment']}, not {experiment}"
    for name in sorted(config.keys() | found["config"].keys()):
        old, new = found["config"].get(name), config.get(name)
        if old != new:
            return f"{name} {json.dumps(old)}, not {json.dumps(new)}"
    return "its format differs"
