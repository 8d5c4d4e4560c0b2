"""Standard streams that cannot stop a program: closed, full, or unable to show a letter."""

import errno
import io
import os
import sys


class _File(io.FileIO):
    """What a standard stream writes to. Its first error is kept and ends the output, no more."""

    error, said = None, False  # whether `check` has told the user

    def write(self, data):
        """Write some of the data, or pretend to after an error; return how many bytes."""
        if self.error is None:
            try:
                return super().write(data)
            except OSError as error:
                self.error = error
        return len(data)


def prepare():
    """Keep errors of the standard streams from whoever prints.

    A stream that was closed at the start leads nowhere. Letters that a stream cannot show become
    question marks. Streams that something else has put in their place stay as they are.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed; the next file to be opened would be taken for this stream
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for number, name in (1, "stdout"), (2, "stderr"):
        stream = getattr(sys, name)
        console = os.name == "nt" and stream and stream.isatty()  # is not a file there
        if stream is getattr(sys, f"__{name}__") and not console:
            file = _File(number, "w", closefd=False)
            look = {"encoding": stream.encoding if stream else "utf-8", "errors": "replace"}
            ours = io.TextIOWrapper(io.BufferedWriter(file), line_buffering=True, **look)
            ours.file = file
            setattr(sys, name, ours)


def run(name, main):
    """Call the main function of a program, and end the process with the status that it returns.

    Where standard output cannot be written to, as on a full disk, the work goes on, because its
    results are files. The exit status is then at least 1.

    Parameters
    ----------
    name : str
        What messages call the program.
    main : function
    """
    prepare()
    try:
        status = main()
    except SystemExit as end:  # after --help
        status = end.code
    sys.exit(status or check(name))


def check(name):
    """Say once if standard output could not be written to, and return 1, or else 0."""
    file = getattr(sys.stdout, "file", None)  # only a stream of `prepare` has one
    if file is None:
        return 0
    sys.stdout.flush()
    if file.error is None or file.said:
        return 0
    file.said = True
    if file.error.errno != errno.EPIPE:  # as when head has read enough
        words = f"standard output cannot be written: {file.error.strerror}"
        print(f"{name}: {words}", file=sys.stderr)
    return 1
