"""A line on the terminal that says how far a long piece of work has come, and how long it takes."""

import sys
import time

from geonet.text import duration


class Progress:
    """Shows `label`, a share done and the time left; nothing at all where there is no terminal.

    Parameters
    ----------
    total : int
        Number of pieces of work.
    label : str or None
        None shows nothing either.
    stream : text file, optional
        Standard error by default.
    done : int
        Pieces that were done before.
    """

    def __init__(self, total, label, stream=None, done=0):
        self.total, self.label = total, label
        self.stream = sys.stderr if stream is None else stream
        self.shown = label is not None and self.stream.isatty()
        self.done = self._before = done
        self._start, self._next = time.monotonic(), 0.0

    def update(self, note="", *values):
        """Count one piece as done; redraw, with the formatted note, ten times a second at most."""
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
        """Show what goes on before the first piece is done."""
        if self.shown:
            self._write(f"{self.label}: {note}")

    def _write(self, text):
        self.stream.write(f"\r\x1b[K{text:.100}")
        self.stream.flush()

    def close(self):
        """Take the line away."""
        if self.shown:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
