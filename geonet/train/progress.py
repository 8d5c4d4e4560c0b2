"""Lines on the terminal or in a log that show the progress of long work, and the time left."""

import sys
import threading
import time

from geonet.text import duration

LOG_EVERY = 20.0  # seconds between the lines of a log


class Progress:
    """Shows `label`, the pieces done and the time left.

    On a terminal this is one line, drawn again and again. Elsewhere nothing is shown, except with
    `log`: then a line is added every 20 s, even while no piece ends.

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
    log : bool
        Whether to write lines where there is no terminal. If two of these are open, the second is
        about a piece of the first: then one line tells of both.
    weights : sequence of float, optional
        How long each piece may take, in any unit; all the same by default.
    """

    _outermost = None

    def __init__(self, total, label, stream=None, done=0, log=False, weights=None):
        self.total, self.label, self.weights = total, label, weights
        self.stream = sys.stderr if stream is None else stream
        # without a console, as under pythonw, there is no standard error
        shown = label is not None and self.stream is not None
        self.shown = shown and self.stream.isatty()
        self.done, self._before, self._note = done, done, ""
        self._start, self._next = time.monotonic(), 0.0
        self._inner, self._ended, self._thread = None, threading.Event(), None
        if log and Progress._outermost is not None:
            Progress._outermost._inner = self
        elif log:
            Progress._outermost = self
            if shown and not self.shown:
                wait = self._ended.wait
                self._thread = threading.Thread(target=self._beat, args=(wait,), daemon=True)
                self._thread.start()

    def update(self, note="", *values):
        """Count one piece as done; redraw, with the formatted note, at most ten times a second."""
        self.done, self._inner = self.done + 1, None
        now = time.monotonic()
        if now < self._next and self.done < self.total:
            return
        self._next, self._note = now + 0.1, note.format(*values)
        if self.shown:
            self._write(self._text())

    def say(self, note):
        """Show what is happening before the first piece is done."""
        if self.shown:
            self._write(f"{self.label}: {note}")

    def _text(self):
        """What is done and how long the rest may take, at the rate so far."""
        share, seconds = self._share(), time.monotonic() - self._start
        left = f"{duration(seconds * (1 - share) / share)} left" if share else "time left not known"
        return f"{self.label} {self.done}/{self.total}, {left} {self._note}"

    def _share(self):
        """How much is done of what was to do at the start."""
        inner = 0.0 if self._inner is None else self._inner._share()
        if self.done == self.total:
            return 1.0
        if self.weights is None:
            return (self.done - self._before + inner) / (self.total - self._before)
        done = sum(self.weights[self._before : self.done]) + inner * self.weights[self.done]
        return done / (sum(self.weights[self._before :]) or 1)

    def _write(self, text):
        outer = Progress._outermost
        if text and outer is not None and outer._inner is self:
            text = f"{outer._text().rstrip()}: {text}"
        self.stream.write(f"\r\x1b[K{text:.100}")
        self.stream.flush()

    def _beat(self, wait):
        """Add a line to the log every so often, until `wait` says that the work has ended."""
        while not wait(LOG_EVERY):
            parts = [self, *([] if self._inner is None else [self._inner])]
            self.stream.write(": ".join(part._text().rstrip() for part in parts) + "\n")
            self.stream.flush()

    def close(self):
        """Remove the line, or end the log. What was done counts until the whole is updated."""
        if Progress._outermost is self:
            Progress._outermost = None
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if self.shown:
            self._write("")
