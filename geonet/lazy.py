"""Names that are found when they are first asked for: what is heavy to load, and what has moved."""

import importlib
import sys
from types import ModuleType


def lazily(package, places):
    """A module's ``__getattr__``, by which names can be had from it that stand elsewhere.

    Parameters
    ----------
    package : str
        The module's ``__name__``.
    places : dict of str to str
        Name -> "module" that it stands for, or "module:name" in that module.

    Returns
    -------
    function
    """

    def __getattr__(name):
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, attribute = places[name].partition(":")
        found = importlib.import_module(module)
        return getattr(found, attribute) if attribute else found

    return __getattr__


def moved(old, new):
    """Let ``from old import name`` find a name that the module `new` has now.

    Parameters
    ----------
    old, new : str
        Dotted names of modules; there is no file for the old one.
    """

    def __getattr__(name):
        if name.startswith("__"):  # what the import system asks of every module
            raise AttributeError(name)
        return getattr(importlib.import_module(new), name)

    module = ModuleType(old, f"Moved to {new}.")
    module.__getattr__ = __getattr__
    sys.modules[old] = module
