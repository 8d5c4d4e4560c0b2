"""A student's file, graded in a process of its own, so that no mistake in it stops the grader.

This is not a sandbox: the file runs with the rights of the person who grades.
"""

import ast
import contextlib
import faulthandler
import functools
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from geonet import threads
from lessons import exercises
from lessons.compare import Mistake
from lessons.grader import Result, describe, failed, grade, show

ROOT = Path(__file__).resolve().parents[1]
SECONDS_A_CALL = 5.0
SECONDS = 60.0
MEMORY = 4 * 2**30  # bytes of address space


def check(path, lesson, seed=0, seconds=SECONDS, seconds_a_call=SECONDS_A_CALL, memory=MEMORY):
    """Grade the exercises of a lesson in a file.

    Parameters
    ----------
    path : str or Path
        The student's file.
    lesson : str
        Its number, such as "06".
    seed : int
        Of the inputs; 0 is what students see.
    seconds : float
        For each exercise.
    seconds_a_call : float
        For each call of a function, and for the file to be imported.
    memory : int
        Bytes that the student's process may have, where the system can limit them.

    Returns
    -------
    list of Result
        One for each exercise, in order, whatever the file does.
    """
    results = {}
    todo = [exercise.key for exercise in exercises.of_lesson(lesson)]
    while todo:
        job = {"path": str(Path(path).resolve()), "keys": todo, "seed": seed, "memory": memory}
        events, ending = _run(job | {"seconds": seconds_a_call}, seconds * len(todo))
        done = {e["result"]["key"]: Result(**e["result"]) for e in events if "result" in e}
        results |= done
        todo = todo[len(done) :]
        if todo:  # the process has ended in the middle of this one
            results[todo[0]] = _ended(todo[0], events, ending)
            if not events:  # while it imported the file
                results |= {key: _ended(key, events, ending) for key in todo}
                break
            todo = todo[1:]
    return list(results.values())


def _run(job, seconds):
    """Run the grading process; return the events that it wrote, and how it ended."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        paths = {"events": str(Path(folder, "events")), "trace": str(Path(folder, "trace"))}
        for path in paths.values():
            Path(path).touch()
        variables = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
        process = subprocess.Popen(
            [sys.executable, "-m", "lessons.submission"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=folder,
            env=variables,
            start_new_session=True,
        )
        try:
            process.communicate(json.dumps(job | paths).encode(), timeout=seconds)
            ending = f"it ended the process, with status {process.returncode}"
        except subprocess.TimeoutExpired:
            ending = f"it was still running after {seconds:g} s in all"
        finally:
            _kill(process)
        trace = Path(paths["trace"]).read_text(encoding="utf-8", errors="replace")
        if trace.startswith("Timeout"):
            where = re.findall(f'File "{re.escape(job["path"])}", line ([0-9]+)', trace)
            line = f"line {where[0]}" if where else "it"
            ending = f"{line} was still running after {job['seconds']:g} s"
        return _read(paths["events"]), ending


def _kill(process):
    """End the process and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "killpg"):  # not on Windows
            os.killpg(process.pid, 9)
        else:
            process.kill()
    process.wait()


def _read(path):
    """The events of a process; its last one may be cut short."""
    events = []
    for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            events.append(json.loads(line))
    return events


def _ended(key, events, ending):
    """The result of the exercise during which the process ended."""
    tries = [event["inputs"] for event in events if event.get("key") == key]
    stage = "time" if "still running" in ending else "crash"
    mistake = Mistake(stage if events else "imports", ending)
    return failed(exercises.find(key), mistake, inputs=tries[-1] if tries else "")


def main():
    """Grade as the job on standard input says, and write one line of JSON for every event."""
    job = json.load(sys.stdin)
    _limit_memory(job["memory"])
    with (
        threads.limited(1),
        open(job["events"], "a", encoding="utf-8") as events,
        open(job["trace"], "w", encoding="utf-8") as trace,
    ):

        def say(**event):
            events.write(json.dumps(event) + "\n")
            events.flush()

        @contextlib.contextmanager
        def watch(arguments, exercise=None):
            if exercise:
                say(key=exercise.key, inputs=show(exercise, arguments))
            faulthandler.dump_traceback_later(job["seconds"], file=trace, exit=True)
            try:
                yield
            finally:
                faulthandler.cancel_dump_traceback_later()

        asked = [exercises.find(key) for key in job["keys"]]
        with watch(()):
            module, mistake = _load(job["path"], asked)
        for exercise in asked:
            if mistake:
                result = failed(exercise, mistake)
            else:
                function = getattr(module, exercise.name, None)
                look = functools.partial(watch, exercise=exercise)
                result = grade(exercise, function, job["seed"], watch=look, file=job["path"])
            say(result=asdict(result))


def _limit_memory(size):
    """Let allocations beyond this fail, where the system can."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def _load(path, asked):
    """The student's module, or what is wrong with it."""
    try:
        source = Path(path).read_bytes()
        allowed = sorted({name for exercise in asked for name in exercise.imports})
        forbidden = _imported(ast.parse(source, path), allowed)
        if forbidden:
            message = f"it imports {', '.join(forbidden)}, but is to do with {', '.join(allowed)}"
            return None, Mistake("imports", message)
        specification = importlib.util.spec_from_file_location("student", path)
        module = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(module)
    except BaseException as error:  # an exit is the student's too
        return None, Mistake("imports", describe(error, path))
    return module, None


def _imported(tree, allowed):
    """What a program imports beyond what is allowed and the standard library."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module or '.'}.{alias.name}" for alias in node.names]
    return sorted(
        {
            name
            for name in names
            if name.split(".")[0] not in sys.stdlib_module_names
            and not any(f"{name}.".startswith(f"{module}.") for module in allowed)
        }
    )


if __name__ == "__main__":
    main()
