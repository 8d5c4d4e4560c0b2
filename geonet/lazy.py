"""Names that are looked up at first use, because they are slow to load or have moved."""

import sys
from pkgutil import resolve_name
from types import ModuleType


def lazily(package, places):
    """A ``__getattr__`` and a ``__dir__`` for a package with names that are defined elsewhere.

    Parameters
    ----------
    package : str
        The package's ``__name__``.
    places : dict of str to str
        Name -> "module" for the module itself, or "module:name" for a name in it. A module that
        had its place in the package before can also be imported from there, as a module.

    Returns
    -------
    __getattr__, __dir__ : function
    """

    def __getattr__(name):
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return resolve_name(places[name])

    def __dir__():
        return sorted({*vars(sys.modules[package]), *places})

    for name, place in places.items():
        if ":" not in place and place != f"{package}.{name}":
            _stand_in(f"{package}.{name}", place)
    return __getattr__, __dir__


def public_names(package, *more):
    """What ``from package import *`` gives and `help` lists: classes, functions, and more names.

    Parameters
    ----------
    package : dict
        Its ``globals()``.
    *more : str

    Returns
    -------
    list of str
    """
    # modules and tables do not say where they were made; functions of this file are left out, too
    known = {n: getattr(x, "__module__", __name__) for n, x in package.items() if n[0] != "_"}
    return [*(name for name, module in known.items() if module != __name__), *more]


def _stand_in(old, new):
    """Let ``from old import name`` find a name that has moved to the module `new`."""

    def __getattr__(name):
        if name.startswith("__"):  # the import system asks every module for these
            raise AttributeError(name)
        return resolve_name(f"{new}:{name}")

    module = ModuleType(old, f"Moved to {new}.")
    module.__getattr__ = __getattr__
    sys.modules[old] = module
