"""Run a lesson cell by cell in a process of its own, and keep what each cell prints and draws."""

import contextlib
import io
import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from typing import NamedTuple

from lessons import figures, percent

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
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "lessons.running", str(lesson.path), str(answer)],
            cwd=folder,
            env=environment,
            capture_output=True,
            timeout=SECONDS,
            encoding="utf-8",
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
    sys.argv = [path, "--quick"]
    scope = {"__name__": "__main__", "__file__": path, "__builtins__": __builtins__}
    cells = []
    for cell in percent.read(Path(path)).cells:
        if cell.kind == "code":
            output, failed = io.StringIO(), False
            figures.shown = []
            with contextlib.redirect_stdout(output):
                try:
                    # Blank lines above the code give tracebacks the numbers of the file's lines.
                    source = "\n" * (cell.line - 1) + cell.text + "\n"
                    exec(compile(source, path, "exec"), scope)
                except (Exception, SystemExit):
                    failed = True
                    print(traceback.format_exc())
            cells.append(Shown(output.getvalue(), figures.shown, failed))
            if failed:
                break
    Path(answer).write_text(json.dumps(cells), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
