"""A line on the terminal that shows the progress of long work, and the time left."""

import sys
import time

from geonet.text import duration


class Progress:
    """Shows `label`, the pieces done and the time left; nothing if there is no terminal.

    Parameters
    ----------
    total : int
        Number of pieces of work.
    label : str or None
        With None nothing is shown.
    stream : text file, optional
        Standard error by default.
    done : int
        Pieces that are already done.
    """

    def __init__(self, total, label, stream=None, done=0):
        self.total, self.label = total, label
        self.stream = sys.stderr if stream is None else stream
        # without a console, as under pythonw, there is no standard error
        self.shown = label is not None and self.stream is not None and self.stream.isatty()
        self.done = self._before = done
        self._start, self._next = time.monotonic(), 0.0

    def update(self, note="", *values):
        """Count one piece as done; redraw, with the formatted note, at most ten times a second."""
        self.done += 1
        now = time.monotonic()
        if not self.shown or (now < self._next and self.done < self.total):
            return
        self._next = now + 0.1
        left = (now - self._start) / (self.done - self._before) * (self.total - self.done)
        self._write(
            f"{self.label} {self.done}/{self.total}, {duration(left)} left " + note.format(*values)
        )

    def say(self, note):
        """Show what is happening before the first piece is done."""
        if self.shown:
            self._write(f"{self.label}: {note}")

    def _write(self, text):
        self.stream.write(f"\r\x1b[K{text:.100}")
        self.stream.flush()

    def close(self):
        """Remove the line."""
        if self.shown:
            self._write("")
