"""Options that experiments share: types for argparse, from text to values or to one clear error."""

import hashlib
import math
import os
import textwrap
from argparse import ArgumentTypeError, RawDescriptionHelpFormatter
from pathlib import Path

from geonet.models import METHODS
from geonet.nn.initializers import parse
from geonet.nn.parameterizations import PARAMETERIZATIONS

SWEEP_LRS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # the rates that --lr sweep tries
# options that say where and how runs are done, which results do not depend on
NOT_OF_RESULTS = "out", "overwrite", "executor", "workers", "resume", "checkpoint_every", "keep"


def seed_list(text):
    """Seeds from text: ``5`` means 0 to 4, and a comma makes a list, as in ``3,`` or ``1,4,7``.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is neither, or if a seed is negative or repeated.
    """
    try:
        seeds = [int(word) for word in text.split(",") if word.strip()]
    except ValueError:
        seeds = []
    if "," not in text and seeds:
        seeds = list(range(seeds[0]))
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ArgumentTypeError(f"must be a count such as 5 or a list such as 0,3,7, not {text!r}")
    return seeds


def names(known=None):
    """A type for argparse: names from a comma-separated list without repetitions.

    Parameters
    ----------
    known : collection of str, optional
        The names that are allowed. By default, all are.

    Returns
    -------
    function
        text -> list of str. It raises argparse.ArgumentTypeError if a name is unknown (the message
        lists the known ones) or repeated.
    """

    def parse_names(text):
        found = [word.strip() for word in text.split(",")]
        for name in found:
            if known is not None and name not in known:
                raise ArgumentTypeError(f"{name!r} is not one of {', '.join(known)}")
        if len(set(found)) < len(found):
            raise ArgumentTypeError(f"{text!r} names one twice")
        return found

    return parse_names


def lr(text):
    """A learning rate from text.

    Raises
    ------
    argparse.ArgumentTypeError
        If it is not a positive number.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ArgumentTypeError(f"must be a positive number, but is {text!r}")
    return value


def lr_choice(text):
    """What --lr says: ``sweep``, ascending rates, or a dict of them from ``GmP=0.1,SP=0.01``.

    Raises
    ------
    argparse.ArgumentTypeError
        As `lr` does, or if a method is named twice or has no rate of its own.
    """
    if text == "sweep":
        return text
    if "=" not in text:
        return sorted(set(map(lr, text.split(","))))
    pairs = [word.partition("=") for word in text.split(",")]
    if not all(equals for _, equals, _ in pairs):
        raise ArgumentTypeError(
            f"must be one rate for each method that it names, as in GmP=0.1,SP=0.01, not {text!r}"
        )
    methods = names()(",".join(method for method, _, _ in pairs))
    return {method: lr(number) for method, (_, _, number) in zip(methods, pairs)}


def default_lr(method):
    """The authors' learning rate: 0.1 for methods with a radius r, 0.01 for the others."""
    return 0.01 if PARAMETERIZATIONS[METHODS[method].parameterization].gain is None else 0.1


def lrs(choice, methods):
    """Learning rates to consider for each method.

    Parameters
    ----------
    choice : list of float, dict of str to float, "sweep" or None
        One rate or several for all methods; those of some methods, while the others keep their
        defaults; the grid `SWEEP_LRS`; or all defaults.
    methods : list of str

    Returns
    -------
    dict of str to list of float
        By method. Where a method has only one rate, there is nothing to choose.

    Raises
    ------
    ValueError
        If a rate is given for a method that is not among `methods`.
    """
    if choice == "sweep":
        return {method: list(SWEEP_LRS) for method in methods}
    if isinstance(choice, list):
        return {method: choice for method in methods}
    chosen = choice or {}
    for method in chosen:
        if method not in methods:
            raise ValueError(f"--lr: {method!r} is not among the methods {', '.join(methods)}")
    return {method: [chosen.get(method, default_lr(method))] for method in methods}


def add_protocol(parser, differences):
    """Add --protocol to a parser, and to its help a table of what `paper` changes.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    differences : iterable of (str, str, str)
        What differs, as it is under ``clean``, and under ``paper``.
    """
    text = "terms of this project, or all of the authors', which are listed below (default: clean)"
    parser.add_argument("--protocol", choices=("clean", "paper"), default="clean", help=text)
    lines = ["--protocol paper has the authors' settings:"]
    for what, clean, paper in differences:
        row = f"{what}: {paper} (clean: {clean})"
        indents = {"initial_indent": "  ", "subsequent_indent": "    "}
        lines.append(textwrap.fill(row, 90, **indents, break_on_hyphens=False))
    parser.formatter_class, parser.epilog = RawDescriptionHelpFormatter, "\n".join(lines)


def command_line(name, given, defaults):
    """The command line of an experiment, for readers: without the folders on this machine.

    Parameters
    ----------
    name : str
        Of the command.
    given, defaults : dict
        Options by name.

    Returns
    -------
    str
        Such as ``levy --seeds 20 --lr GmP=0.1``.
    """
    words = [name]
    for option, default in defaults.items():
        value = given[option]
        if value == default or option in NOT_OF_RESULTS:
            continue
        if option == "seeds":  # a count if they are 0, 1, …; a comma makes a list of a single one
            counted = value == list(range(len(value)))
            value = len(value) if counted else f"{','.join(map(str, value))},"
        elif isinstance(value, dict):
            value = ",".join(f"{key}={item}" for key, item in value.items())
        elif isinstance(value, list):
            value = ",".join(map(str, value))
        elif option == "data":
            value = "DIR"
        words += [f"--{option.replace('_', '-')}", *([] if value is True else [str(value)])]
    return " ".join(words)


def initializer(text):
    """The name of an initializer, once it is known to be valid.

    Raises
    ------
    argparse.ArgumentTypeError
        With the message of `geonet.nn.initializers.parse`.
    """
    try:
        parse(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
    return text


def initializers(text):
    """Names of initializers from a comma-separated list, as `initializer` takes them."""
    return [initializer(name) for name in names()(text)]


def digest_of(paths):
    """16 digits that identify the content of files, whatever their names are."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()[:16]


def data_path(argument, name):
    """The path of the data.

    Parameters
    ----------
    argument : str or None
        The value of --data.
    name : str
        File or folder to look for in the folder GEONET_DATA if --data is not given.

    Returns
    -------
    Path or None
        Absolute path; None for the data that the package draws itself.

    Raises
    ------
    ValueError
        If GEONET_DATA would be used but is not the name of a folder.
    """
    if argument is not None:
        return Path(argument).resolve()
    folder = os.environ.get("GEONET_DATA") or None
    if folder is not None and not Path(folder).is_dir():
        raise ValueError(f"GEONET_DATA must name a folder, but is {folder!r}")
    known = folder is not None and Path(folder, name).exists()
    return Path(folder, name).resolve() if known else None


def number(kind, low, high=math.inf):
    """A type for argparse: a number in [low, high).

    Parameters
    ----------
    kind : type
        int or float.
    low, high : float

    Returns
    -------
    function
        text -> number. It raises argparse.ArgumentTypeError for anything else.
    """

    def parse_number(text):
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not low <= value < high:
            words = "a whole number" if kind is int else "a number"
            raise ArgumentTypeError(f"must be {words} in [{low}, {high}), but is {text!r}")
        return value

    return parse_number
