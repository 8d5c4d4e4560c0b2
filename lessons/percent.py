"""Lessons in percent format: the header that each begins with, and its cells."""

import re
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).resolve().parent
KEYS = ("Goal", "Minutes", "Difficulty", "Symbols", "Before")
_MARK = re.compile(r"# %%\s*(?P<markdown>\[markdown\])?\s*$")


class Cell(NamedTuple):
    """One cell: markdown without its comment signs, or code as it stands."""

    kind: str  # "markdown" or "code"
    text: str
    line: int  # of the file, where the text begins


class Lesson(NamedTuple):
    """A lesson: what its header says, and its cells; the first is without the header."""

    path: Path
    title: str
    goal: str
    minutes: str
    difficulty: str
    symbols: str
    before: str
    cells: list

    @property
    def number(self):
        """The lesson's two digits."""
        return self.path.name[:2]


def paths(folder=FOLDER):
    """The files of all lessons, in order."""
    return sorted(Path(folder).glob("[0-9][0-9]_*.py"))


def cells(text, name="lesson"):
    """Split a program in percent format.

    Parameters
    ----------
    text : str
    name : str
        What messages call the file.

    Returns
    -------
    list of Cell
        Without empty ones.

    Raises
    ------
    ValueError
        If there is something before the first `# %%`, or a line of markdown is not a comment.
    """
    found, kind, start, lines = [], None, 1, []
    for number, line in enumerate([*text.splitlines(), "# %%"], start=1):
        mark = _MARK.match(line)
        if not mark:
            lines.append(line)
            continue
        if "".join(lines).strip():
            if kind is None:
                raise ValueError(f"{name} must begin with '# %%', but line 1 is {lines[0]!r}")
            while not lines[0].strip():
                del lines[0]
                start += 1
            if kind == "markdown":
                lines = [_uncommented(line, start + i, name) for i, line in enumerate(lines)]
            found.append(Cell(kind, "\n".join(lines).strip("\n"), start))
        kind = "markdown" if mark["markdown"] else "code"
        start, lines = number + 1, []
    return found


def _uncommented(line, number, name):
    if line.strip() and not line.startswith("#"):
        raise ValueError(f"{name}, line {number}: markdown must begin with '#', but is {line!r}")
    return line.removeprefix("# ") if line.startswith("# ") else line.strip().removeprefix("#")


def read(path):
    """Read one lesson.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Lesson

    Raises
    ------
    ValueError
        If the first cell has no title, or lacks a line of the header.
    """
    found = cells(path.read_text(encoding="utf-8"), path.name)
    if not found or found[0].kind != "markdown" or not found[0].text.startswith("# "):
        raise ValueError(f"{path.name} must begin with a markdown cell that begins with its title")
    title, _, rest = found[0].text.partition("\n")
    header, remaining, key = {}, [], None
    for line in rest.splitlines():
        before, colon, after = line.partition(":")
        if colon and before in KEYS and before not in header:
            key = before
            header[key] = after.strip()
        elif key and line.strip():  # a header's line may be continued on the next
            header[key] += " " + line.strip()
        else:
            key = None
            remaining.append(line)
    missing = [key for key in KEYS if not header.get(key)]
    if missing:
        raise ValueError(f"the header of {path.name} lacks {', '.join(missing)}")
    first = found[0]._replace(text="\n".join(remaining).strip("\n"))
    title = title.removeprefix("# ").strip()
    return Lesson(path, title, *(header[key] for key in KEYS), [first, *found[1:]])
