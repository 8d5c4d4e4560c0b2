"""Standard streams that cannot stop a program: closed, full, or unable to show a letter."""

import errno
import io
import os
import sys


class _File(io.FileIO):
    """What a standard stream writes to. Its first error is kept and ends the output, no more."""

    error = None

    def write(self, data):
        """Write some of the data, or pretend to after an error; return how many bytes."""
        if self.error is None:
            try:
                return super().write(data)
            except OSError as error:
                self.error = error
        return len(data)


def run(name, main):
    """Call the main function of a program, and end the process with the status that it returns.

    A stream that was closed at the start leads nowhere. Letters that a stream cannot show become
    question marks. Where standard output cannot be written to, as on a full disk, the work goes on,
    because its results are files; the exit status is then at least 1.

    Parameters
    ----------
    name : str
        What messages call the program.
    main : function
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed; the next file to be opened would be taken for this stream
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    output, _ = _prepare(1, "stdout"), _prepare(2, "stderr")
    try:
        status = main()
    except SystemExit as end:  # after --help
        status = end.code
    sys.stdout.flush()
    error = output and output.error
    if error and error.errno != errno.EPIPE:  # as when head has read enough
        print(f"{name}: standard output cannot be written: {error.strerror}", file=sys.stderr)
    sys.exit(status or int(error is not None))


def _prepare(number, name):
    """Put a stream that writes to a `_File` in place of a standard one; return that file."""
    stream, file = getattr(sys, name), _File(number, "w", closefd=False)
    if os.name == "nt" and stream and stream.isatty():  # its console is not a file
        return None
    usual = {"encoding": "utf-8", "line_buffering": False, "write_through": False}
    kept = {key: getattr(stream, key, value) for key, value in usual.items()}
    buffer = file if kept["write_through"] else io.BufferedWriter(file)
    setattr(sys, name, io.TextIOWrapper(buffer, errors="replace", **kept))
    return file
