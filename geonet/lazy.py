"""Names that are looked up at first use, because they are slow to load or have moved."""

import importlib
import sys
from types import ModuleType


def lazily(package, places):
    """A ``__getattr__`` for a module, which finds names that are defined elsewhere.

    Parameters
    ----------
    package : str
        The module's ``__name__``.
    places : dict of str to str
        Name -> "module" for the module itself, or "module:name" for a name in it.

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
    """Let ``from old import name`` find a name that has moved to the module `new`.

    Parameters
    ----------
    old, new : str
        Dotted names of modules; there is no file for the old one.
    """

    def __getattr__(name):
        if name.startswith("__"):  # the import system asks every module for these
            raise AttributeError(name)
        return getattr(importlib.import_module(new), name)

    module = ModuleType(old, f"Moved to {new}.")
    module.__getattr__ = __getattr__
    sys.modules[old] = module
