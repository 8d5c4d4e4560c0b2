"""Results of the grader in words, for a terminal or a file."""

import os
import sys
import textwrap

CHECKS = {
    "unwritten": "not written yet",
    "imports": "the file cannot be imported",
    "signature": "its name or parameters are not those asked for",
    "time": "it takes too long",
    "crash": "it ends the program",
    "error": "it stops with an error",
    "inputs": "it changes its input",
    "shape": "the shape is wrong",
    "dtype": "the dtype is wrong",
    "finite": "it gives NaN or infinity",
    "values": "a value is wrong",
    "gradient": "the gradient is wrong",
}
GREEN, RED = 32, 31
LINES_PRINTED = 10


def colours():
    """Whether the terminal shows colours and NO_COLOR does not turn them off."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.name == "posix"


def painted(text, colour, on):
    """Text in a colour, if that is on."""
    return f"\033[{colour}m{text}\033[0m" if on else text


def text(result, colour=False):
    """What the grader has to say about one exercise.

    Parameters
    ----------
    result : Result
    colour : bool
        Mark right and wrong by colour as well as by the words.

    Returns
    -------
    str
        Lines; the first one is a summary.
    """
    head = f"{result.key}  {result.title}: {result.score} of {result.points} points"
    if result.passed:
        return painted(f"right  {head}", GREEN, colour)
    if result.stage == "unwritten":
        return f"to do  {head}, {CHECKS['unwritten']}"
    lines = [painted(f"WRONG  {head}, {CHECKS[result.stage]}", RED, colour)]
    lines += _filled(f"{result.message[:1].upper()}{result.message[1:]}")
    if result.inputs:
        smallest = "" if result.stage in ("time", "crash") else ", the smallest one found"
        lines += [f"This is so for the input{smallest}:"]
        lines += textwrap.indent(result.inputs, "    ").splitlines()
    if result.expected:
        where = f"Entry {result.entry}: " if result.entry else ""
        lines += [f"{where}yours is {result.got}, right is {result.expected}"]
    if result.printed:
        printed = result.printed.splitlines()
        more = [f"… {len(printed) - LINES_PRINTED} more lines"] * (len(printed) > LINES_PRINTED)
        lines += ["Your function printed for this input:"]
        lines += [f"    {line:.90}" for line in [*printed[:LINES_PRINTED], *more]]
    if result.misconception:
        lines += _filled(f"This looks like a known mistake: {result.misconception}")
        lines += _filled(result.why)
    if result.stage != "imports":
        lines += [f"For a hint: python -m lessons hint {result.key}"]
    return "\n".join([lines[0], *(f"       {line}" for line in lines[1:])])


def _filled(sentences):
    end = "" if sentences.endswith((".", "?", "!")) else "."
    return textwrap.wrap(f"{sentences}{end}", 90)
