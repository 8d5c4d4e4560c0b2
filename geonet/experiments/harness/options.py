"""Options that experiments share: from text to values, or to one clear error message."""

import math
import os
from argparse import ArgumentTypeError
from pathlib import Path

from geonet.models import METHODS
from geonet.nn.initializers import parse

STEERING_HELP = "training is steered by validation data, or by test data as in the authors' code"
SWEEP_LRS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # the rates that --lr sweep tries


def seed_list(text):
    """Seeds from text: ``5`` means 0 to 4, and a comma makes a list, as in ``3,`` or ``1,4,7``.

    Raises
    ------
    ValueError
        If it is neither, or if a seed is negative or repeated.
    """
    try:
        seeds = [int(word) for word in text.split(",") if word.strip()]
    except ValueError:
        seeds = []
    if "," not in text and seeds:
        seeds = list(range(seeds[0]))
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds must be a count such as 5 or a list such as 0,3,7, not {text!r}")
    return seeds


def method_list(text):
    """Names of methods from a comma-separated list without repetitions.

    Raises
    ------
    ValueError
        If a name is unknown (the message lists the known ones) or repeated.
    """
    names = [word.strip() for word in text.split(",")]
    for name in names:
        if name not in METHODS:
            raise ValueError(f"--methods: {name!r} is not one of {', '.join(METHODS)}")
    if len(set(names)) < len(names):
        raise ValueError(f"--methods names one of {text!r} twice")
    return names


def lr(text):
    """A learning rate from text.

    Raises
    ------
    ValueError
        If it is not a positive number.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ValueError(f"--lr must be a positive number, but is {text!r}")
    return value


def lrs(text, methods, default):
    """Learning rates to consider for each method, from text.

    Parameters
    ----------
    text : str or None
        None for the defaults; ``0.01`` for all methods; ``GmP=0.1,SP=0.01`` for some, while the
        others keep their defaults; or ``sweep`` for the grid `SWEEP_LRS`.
    methods : list of str
    default : function
        method -> learning rate.

    Returns
    -------
    dict of str to list of float
        By method. Where a method has only one rate, there is nothing to choose.

    Raises
    ------
    ValueError
        If a rate is not a positive number, or a method is not among `methods`.
    """
    if text == "sweep":
        return {method: list(SWEEP_LRS) for method in methods}
    chosen = {method: [default(method)] for method in methods}
    if text is None:
        return chosen
    if "=" not in text:
        return {method: [lr(text)] for method in methods}
    for word in text.split(","):
        method, _, number = word.strip().partition("=")
        if method not in chosen:
            raise ValueError(f"--lr: {method!r} is not among the methods {', '.join(methods)}")
        chosen[method] = [lr(number)]
    return chosen


def add_protocol(parser, difference):
    """Add --protocol to a parser; `difference` says how its two values differ."""
    text = f"{difference} (default: clean)"
    parser.add_argument("--protocol", choices=("clean", "paper"), default="clean", help=text)


def refuse_sweep_on_test_data(arguments):
    """Refuse to choose learning rates where the protocol leaves no validation data.

    Raises
    ------
    ValueError
        If --lr is sweep and --protocol is paper.
    """
    if arguments.protocol == "paper" and arguments.lr == "sweep":
        raise ValueError("--lr sweep needs validation data, and --protocol paper has none")


def initializer(text):
    """The name of an initializer, once it is known to be valid.

    Raises
    ------
    ValueError
        As `geonet.nn.initializers.parse` does.
    """
    parse(text)
    return text


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
    folder = os.environ.get("GEONET_DATA")
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
        text -> number. It raises argparse.ArgumentTypeError if it is none, or out of range.
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
