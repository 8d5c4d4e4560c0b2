"""Run a lesson cell by cell in a process of its own, and keep what each cell prints and draws."""

import contextlib
import inspect
import io
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import NamedTuple

from lessons import percent

ROOT = percent.FOLDER.parent
SECONDS = 600  # a lesson needs at most 60; a busy machine may need more


class Shown(NamedTuple):
    """What one cell of code has shown."""

    output: str
    figures: list  # of dicts: name, alt, title, animated
    failed: bool = False


def run(lesson, folder):
    """Run a lesson, in quick form where it has one.

    Parameters
    ----------
    lesson : percent.Lesson
    folder : Path
        Where the lesson runs, so that its figures come to folder/results/lessons.

    Returns
    -------
    list of Shown
        One for each code cell up to the first that failed; its output then ends with the traceback.
    """
    answer = Path(folder, f"shown-{lesson.number}.json")
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from lessons import running; "
    program += f"running.main({str(lesson.path)!r}, {str(answer)!r})"
    command = [sys.executable, "-c", program, "--quick"]
    # Lessons that train ask for this before NumPy loads; here it has been loaded before them.
    environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ}
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            timeout=SECONDS,
            errors="replace",
        )
        if answer.exists():
            return [Shown(*each) for each in json.loads(answer.read_text(encoding="utf-8"))]
        message = f"the process ended with status {done.returncode}\n{done.stderr}"
    except subprocess.TimeoutExpired:
        message = f"not finished after {SECONDS} s"
    return [Shown(message, [], True)]


def main(path, answer):
    """In the lesson's process: run it and write what it showed, as JSON, to the file `answer`."""
    path = Path(path)
    sys.argv = [str(path), *sys.argv[1:]]
    drawn = _watched_figures()
    scope = {"__name__": "__main__", "__file__": str(path), "__builtins__": __builtins__}
    shown = []
    for cell in percent.read(path).cells:
        if cell.kind == "code":
            output, failed = io.StringIO(), False
            with contextlib.redirect_stdout(output):
                try:
                    # Blank lines above the code give tracebacks the numbers of the file's lines.
                    source = "\n" * (cell.line - 1) + cell.text + "\n"
                    exec(compile(source, str(path), "exec"), scope)
                except (Exception, SystemExit):
                    failed = True
                    print(traceback.format_exc())
            shown.append(Shown(output.getvalue(), list(drawn), failed))
            drawn.clear()
            if failed:
                break
    Path(answer).write_text(json.dumps(shown), encoding="utf-8")


def _watched_figures():
    """A list to which `figures.save` and `figures.animate` add from now on what they write."""
    from lessons import figures

    drawn = []

    def watched(function, animated):
        def wrapper(*arguments, **keywords):
            given = inspect.signature(function).bind(*arguments, **keywords).arguments
            before = len(drawn)
            with contextlib.redirect_stdout(io.StringIO()):  # the page shows the figure itself
                paths = function(*arguments, **keywords)
            # An animation saves a still of its own name, which goes with it.
            drawn[before:] = [
                {
                    "name": given["name"],
                    "alt": " ".join(given["alt"].split()),
                    "title": given.get("title") or "",
                    "animated": animated,
                }
            ]
            return paths

        return wrapper

    figures.save = watched(figures.save, animated=False)
    figures.animate = watched(figures.animate, animated=True)
    return drawn
