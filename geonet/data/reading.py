"""What goes wrong while a file is read: with the file, or with the system."""

import contextlib
import errno


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
