"""Files that are written completely or not at all."""

import contextlib
import os
import shutil


def write_whole(path, write):
    """Call write(temporary path), then rename the file. A write that fails leaves nothing behind.

    Its folder is made if missing. A file of that name is replaced, and passes on its permissions.
    A process that is killed leaves the temporary file, which `remove_unfinished` removes.

    Parameters
    ----------
    path : Path
    write : function

    Raises
    ------
    OSError
        As `write` does, but with the name of the file itself: the disk may be full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        write(temporary)
        if path.exists():
            shutil.copymode(path, temporary)
        temporary.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with contextlib.suppress(OSError):  # of a system that is read-only; no file is there then
            temporary.unlink()


def remove_unfinished(path):
    """Remove what killed processes left of writing a file, or files if the name is a pattern."""
    for temporary in path.parent.glob(f".{path.name}.*"):
        if temporary.suffix[1:].isdecimal():  # the number of the process
            temporary.unlink()
