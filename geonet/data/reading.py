"""What goes wrong while a file is read: with the file, or with the system."""

import contextlib
import errno
from pathlib import Path


def existing(path, kind, expected):
    """The Path of a "file" or "folder", which must be there.

    Parameters
    ----------
    path : str or Path
    kind : {"file", "folder"}
    expected : str
        What should be there, for the message.

    Raises
    ------
    FileNotFoundError
    """
    path = Path(path)
    if not (path.is_dir() if kind == "folder" else path.is_file()):
        raise FileNotFoundError(f"{path}: no such {kind}; expected {expected}")
    return path


def check_content(path, right, expected, found=None):
    """Refuse what a file holds unless it is right.

    Parameters
    ----------
    path : Path
    right : bool
    expected, found : object
        For the message, which ends with what was expected if `found` is None.

    Raises
    ------
    ValueError
    """
    if not right:
        seen = "" if found is None else f", found {found}"
        raise ValueError(f"{path}: expected {expected}{seen}")


@contextlib.contextmanager
def reading(path, wrong):
    """Tell errors of the system from wrong contents, and name the file in all of them.

    Parameters
    ----------
    path : str or Path
    wrong : function
        ``wrong(path, error)`` returns the error to raise for contents that cannot be understood.

    Raises
    ------
    OSError
        As it was: a file that is missing or forbidden, too many open files, a failing disk.
    MemoryError
        Also if the file asks for more memory than there is.
    """
    try:
        yield
    except MemoryError as error:
        raise MemoryError(f"{path}: {str(error) or 'not enough memory to read it'}") from error
    except Exception as error:
        # EINVAL: the contents may send their reader to a place before the beginning
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            error.filename = error.filename or str(path)
            raise
        raise wrong(path, error) from error
