"""Standard streams of programs: closed, full, cut off, or unable to show a letter."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from geonet import streams

ROOT = Path(__file__).parents[1]
PROGRAM = """if True:
    import sys
    from geonet import streams

    def main():
        with open("result.txt", "w", encoding="utf-8") as file:
            print("3 ± λ", file=sys.stderr)
            for _ in range(3):
                print("2 ± λ", flush=True)
            file.write(f"{file.fileno()} whole")
        return 0

    streams.run("program", main)
"""


def run(command, cwd, **options):
    """Run a command without the settings of Python that this process may have been given."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    variables |= {"PYTHONPATH": str(ROOT), "PROGRAM": PROGRAM, "PYTHONUTF8": "1"}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    variables |= options.pop("variables", {})
    return subprocess.run(command, cwd=cwd, env=variables, encoding="utf-8", **options)


def shell(words, cwd, options="", **more):
    """The program run by a shell, with redirections as its user would write them."""
    command = f'"{sys.executable}" {options} -c "$PROGRAM" {words}'
    return run(["sh", "-c", command], cwd, **more)


posix = pytest.mark.skipif(os.name != "posix", reason="of a POSIX shell")


@posix
@pytest.mark.parametrize("options", ["", "-u"])
@pytest.mark.parametrize(
    ("words", "out", "err"),
    [
        ("", "2 ± λ\n" * 3, "3 ± λ\n"),
        (">&-", "", "3 ± λ\n"),
        ("2>&-", "2 ± λ\n" * 3, ""),
        ("<&-", "2 ± λ\n" * 3, "3 ± λ\n"),
        ("<&- >&- 2>&-", "", ""),
        ("</dev/null", "2 ± λ\n" * 3, "3 ± λ\n"),
    ],
)
def test_a_closed_stream_stops_nothing_and_no_file_takes_its_place(
    words, out, err, options, tmp_path
):
    done = shell(words, tmp_path, options=options)
    assert (done.returncode, done.stdout, done.stderr) == (0, out, err)
    number, _, rest = (tmp_path / "result.txt").read_text(encoding="utf-8").partition(" ")
    assert int(number) > 2
    assert rest == "whole"


@posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("options", ["", "-u"])
def test_a_full_disk_behind_standard_output_is_named_once_and_work_goes_on(options, tmp_path):
    done = shell(">/dev/full", tmp_path, options=options)
    message = "program: standard output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, f"3 ± λ\n{message}")
    assert (tmp_path / "result.txt").read_text(encoding="utf-8").endswith("whole")
    done = shell("2>/dev/full", tmp_path, options=options)
    assert (done.returncode, done.stdout) == (0, "2 ± λ\n" * 3)


@posix
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize(
    ("program", "name", "status"),
    [
        ("import sys; from geonet import streams; streams.run('program', help)", "program", 1),
        ("import lessons; print('lost')", "lesson", 0),  # a script, whose end is Python's
    ],
)
def test_output_that_a_full_disk_loses_is_never_lost_silently(program, name, status, tmp_path):
    program = f"def help(): print('lost'); sys.exit()\n{program}"
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = run([sys.executable, "-c", program], tmp_path, stdout=full)
    message = f"{name}: standard output cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == (status, message)


@posix
def test_a_reader_that_has_read_enough_is_no_error_but_seen_in_the_status(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as closed:
        done = shell("", tmp_path, stdout=closed)
    assert (done.returncode, done.stderr) == (1, "3 ± λ\n")
    assert (tmp_path / "result.txt").read_text(encoding="utf-8").endswith("whole")


@posix
@pytest.mark.parametrize(
    "variables",
    [
        {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "ascii:strict"},
    ],
)
def test_letters_that_a_terminal_cannot_show_become_question_marks(variables, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM, encoding="utf-8")
    done = run([sys.executable, "program.py"], tmp_path, variables=variables)
    assert (done.returncode, done.stdout, done.stderr) == (0, "2 ? ?\n" * 3, "3 ? ?\n")


@posix
def test_a_lesson_goes_on_when_its_reader_has_read_enough(tmp_path):
    program = "import lessons; print('λ', flush=True); open('end', 'x', encoding='utf-8').close()"
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as closed:
        done = run([sys.executable, "-c", program], tmp_path, stdout=closed)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "end").exists()


def test_streams_that_others_have_put_there_stay(monkeypatch):
    ours, theirs = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", ours)
    monkeypatch.setattr(sys, "stderr", theirs)
    streams.prepare()
    assert (sys.stdout, sys.stderr) == (ours, theirs)


@pytest.mark.parametrize(
    ("end", "status"),
    [("return", 0), ("return 3", 3), ("sys.exit()", 0), ("sys.exit(2)", 2), ("1 / 0", 1)],
)
def test_the_status_is_that_of_the_main_function(end, status, tmp_path):
    body = PROGRAM.replace("return 0", end).replace("range(3)", "range(1)")
    done = run([sys.executable, "-c", body], tmp_path)
    assert done.returncode == status
    assert done.stdout.startswith("2 ")
    assert ("ZeroDivisionError" in done.stderr) == (end == "1 / 0")
