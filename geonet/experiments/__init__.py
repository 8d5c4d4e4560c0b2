"""The paper's experiments, one file each; `find` collects them for the command line."""

import importlib
import pkgutil


def find():
    """Every experiment in this package, by name: the modules that define EXPERIMENT.

    Returns
    -------
    dict of str to geonet.experiments.harness.experiment.Experiment
    """
    modules = (
        importlib.import_module(m.name) for m in pkgutil.iter_modules(__path__, f"{__name__}.")
    )
    found = [module.EXPERIMENT for module in modules if hasattr(module, "EXPERIMENT")]
    return {experiment.name: experiment for experiment in found}
