"""Files that are written completely or not at all."""

import os


def write_whole(path, write):
    """Call write(temporary path), then rename the file. A write that fails leaves nothing behind.

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
