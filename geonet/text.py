"""Text for the terminal: tables, durations, and errors in the user's input."""

import argparse
import inspect
import math
from numbers import Integral


class BadInput(ValueError):
    """The user's input is invalid; the message is shown to the user."""


class Parser(argparse.ArgumentParser):
    """A parser that raises `BadInput` where argparse would end the process."""

    def error(self, message):
        raise BadInput(f"{message} (see {self.prog} --help)")


def argument_names(function, count):
    """The names of the first `count` arguments of a function."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some functions written in C tell nothing of themselves
        return ["unnamed"] * count
    names = []
    for parameter in parameters:
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}[{i}]" for i in range(count - len(names))]
        else:
            names.append(parameter.name)
    return names[:count]


def check_choice(argument, value, choices):
    """Refuse a value that is not one of the choices, with a ValueError that lists them."""
    if value not in choices:
        names = ", ".join(map(str, choices))
        raise ValueError(f"{argument} must be one of {names}, but is {value!r}")


def check_counts(least, **counts):
    """Refuse what is not a whole number of at least `least`; the keywords are the arguments."""
    for argument, value in counts.items():
        if not isinstance(value, Integral) or value < least:
            raise ValueError(
                f"{argument} must be a whole number of at least {least}, but is {value!r}"
            )


def check_range(argument, value, low, high=math.inf):
    """Refuse a number that is not in [low, high), including NaN."""
    if not low <= value < high:
        raise ValueError(f"{argument} must be in [{low}, {high}), but is {value}")


def check_type(argument, value, kind, words):
    """Refuse a value of another type, with a TypeError that says in words what is expected."""
    if not isinstance(value, kind):
        raise TypeError(f"{argument} must be {words}, but is a {type(value).__name__}")


def aligned(rows):
    """Rows of words as a table, with a rule below the first row."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ["  ".join(word.ljust(w) for word, w in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * w for w in widths), *lines[1:]])


def counted(items, noun):
    """How many items there are, in words such as 1 seed or 20 seeds."""
    return f"{len(items)} {noun}{'s' * (len(items) != 1)}"


def duration(seconds):
    """A duration in words: 8 s, 3 min 20 s, 2 h 5 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes} min {seconds} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
