"""What a class has handed in: who, which files, and names that are safe to write to."""

import hashlib
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from geonet.text import BadInput

LARGEST = 2**20  # bytes of a student's file
_OWN_FILE = re.compile(r"([0-9][0-9])\.py")
_FILE = re.compile(r"(.*)_([0-9][0-9])\.py", re.DOTALL)
_SAFE = re.compile(r"[A-Za-z0-9_-]([A-Za-z0-9._@-]{0,78}[A-Za-z0-9_-])?")


@dataclass
class Submission:
    """What one student has handed in."""

    student: str
    files: dict = field(default_factory=dict)  # from a lesson's number to a Path
    notes: list = field(default_factory=list)  # what was left out, and why


def find(folder, lessons):
    """The submissions in a folder.

    Parameters
    ----------
    folder : str or Path
        With folders STUDENT/ of files NN.py (or STUDENT/work/ of them), files STUDENT_NN.py, or
        both.
    lessons : collection of str
        The numbers of the lessons that have exercises.

    Returns
    -------
    submissions : list of Submission
        One for each student, in the order of their names. Symbolic links are not followed: they
        could lead to another student's work.
    left_out : list of str
        What else is in the folder.

    Raises
    ------
    BadInput
        If the folder is missing or has no submissions.
    """
    if not os.path.isdir(folder):
        raise BadInput(f"{printable(folder)} must be a folder of submissions, but is not")
    found, left_out = {}, []

    def student(name):
        return found.setdefault(name, Submission(name))

    # Folders first: where a student has handed in both, the folder's file counts.
    for path in sorted(Path(folder).iterdir(), key=lambda p: (not _is_folder(p), os.fsencode(p))):
        match = _FILE.fullmatch(path.name)
        if _is_folder(path):
            _take_folder(path, student, left_out)
        elif match:
            one = student(match[1])
            if match[2] in one.files:
                one.notes.append(f"{path.name} is left out, the folder's {match[2]}.py counts")
            one.files.setdefault(match[2], path)
        elif path.is_symlink():
            student(path.name).notes.append("a symbolic link, which is not followed")
        else:
            left_out.append(path.name)
    for submission in found.values():
        _set_unknown_aside(submission, lessons)
    if not found:
        raise BadInput(
            f"{printable(folder)} must hold folders STUDENT with files NN.py, or files "
            "STUDENT_NN.py, but holds neither"
        )
    return sorted(found.values(), key=lambda s: os.fsencode(s.student)), left_out


def _is_folder(path):
    return path.is_dir() and not path.is_symlink()


def _take_folder(path, student, left_out):
    """Add the files NN.py from a student's folder, or from the folder `work` in it."""
    try:
        own = {}
        for place in filter(_is_folder, (path / "work", path)):
            matches = ((_OWN_FILE.fullmatch(file.name), file) for file in place.iterdir())
            own |= {match[1]: file for match, file in matches if match}
    except OSError as error:
        student(path.name).notes.append(f"the folder cannot be read: {error.strerror}")
        return
    if own or not path.name.startswith("."):
        student(path.name).files |= own
    else:
        left_out.append(path.name)


def _set_unknown_aside(submission, lessons):
    for lesson in sorted(set(submission.files) - set(lessons)):
        del submission.files[lesson]
        submission.notes.append(f"lesson {lesson} has no exercises")
    if not submission.files and not submission.notes:
        submission.notes.append("no file NN.py")


def source(path):
    """The bytes of a student's file.

    Raises
    ------
    BadInput
        If it is not a regular file (a pipe would never end), is too large, or cannot be read.
    """
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            raise BadInput("not a regular file: links, folders and pipes are not read")
        if status.st_size > LARGEST:
            raise BadInput(f"the file must have at most {LARGEST} bytes, but has {status.st_size}")
        return Path(path).read_bytes()
    except OSError as error:
        raise BadInput(f"the file cannot be read: {error.strerror}") from None


def printable(name):
    """A name with escape sequences for what could control a terminal or is not valid text."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(name))


def safe_names(names):
    """For each name, one that is safe for a folder: letters, digits and ._@- only, all different.

    A safe name stays as it is. In others the rest becomes ``_``, and a code is added.
    """
    safe, taken = {}, set()
    for name in names:
        plain = name
        if not _SAFE.fullmatch(name) or name.endswith(".json") or name.lower() in taken:
            code = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
            plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:40] + "-" + code
        taken.add(plain.lower())
        safe[name] = plain
    return safe
