"""Files that are whole or not there."""

import os


def write_whole(path, write):
    """Call write(temporary path), then rename; nothing is left of a write that fails.

    Parameters
    ----------
    path : Path
    write : function
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
