"""python -m lessons: what its commands print, keep, and answer."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from absent_helpers import environment_without

from lessons import exercises, progress, workspace
from lessons.__main__ import main

LESSON = "01"
ASKED = exercises.of_lesson(LESSON)
FIRST = ASKED[0]


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(capsys, *words):
    """The exit status and what was printed."""
    status = main(list(words))
    captured = capsys.readouterr()
    return status, captured.out + captured.err


def write(lines):
    workspace.FOLDER.mkdir(exist_ok=True)
    program = f"import numpy as np\n{lines}\n"
    workspace.path(LESSON).write_text(program, encoding="utf-8")


def wrong_program():
    return f"def {FIRST.name}(*arguments):\n    return None\n"


def right_program():
    return "\n\n".join("\n".join(workspace.reference_code(exercise)) for exercise in ASKED)


def test_without_a_command_the_lessons_are_listed_with_progress(capsys):
    status, text = run(capsys)
    assert status == 0
    assert all(f"{number} · " in text for number in exercises.lessons())
    assert "0 of 100 points" in text
    progress.save({FIRST.key: progress.Record(passed=True)})
    assert f"{FIRST.points} of 100 points" in run(capsys)[1]


def test_stubs_that_a_full_disk_cut_short_are_not_left(capsys):
    pytest.importorskip("resource")
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); "
    program = f"{limited}from lessons import workspace; workspace.start({LESSON!r})"
    path = str(Path(__file__).parents[1])
    words = [sys.executable, "-B", "-c", program]
    done = subprocess.run(words, env=os.environ | {"PYTHONPATH": path}, capture_output=True)
    file = workspace.path(LESSON)
    assert file.name in done.stderr.decode().splitlines()[-1]
    assert list(file.parent.iterdir()) == []
    assert run(capsys, "start", LESSON)[0] == 0
    assert file.read_text(encoding="utf-8") == workspace.stub(LESSON)


def test_stubs_are_the_same_without_docstrings(tmp_path):
    program = "from lessons import workspace; print(workspace.stub('06'))"
    words, path = [sys.executable, "-OO", "-c", program], str(Path(__file__).parents[1])
    settings = os.environ | {"PYTHONPATH": path, "PYTHONUTF8": "1"}
    done = subprocess.run(words, env=settings, check=True, capture_output=True, encoding="utf-8")
    assert done.stdout == f"{workspace.stub('06')}\n"


def test_files_that_an_editor_of_windows_saved_are_read():
    write(wrong_program())
    expected = workspace.students_code(FIRST)
    text = workspace.path(LESSON).read_text(encoding="utf-8")
    workspace.path(LESSON).write_text(text, encoding="utf-8-sig", newline="\r\n")
    assert workspace.students_code(FIRST) == expected != []
    progress.save({FIRST.key: progress.Record(passed=True)})
    kept = workspace.FOLDER / "progress.json"
    kept.write_text(kept.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert progress.load()[FIRST.key].passed


def test_a_student_goes_from_the_stub_by_hints_to_all_points(capsys):
    status, text = run(capsys, "start", "1")
    assert status == 0
    assert FIRST.title in text
    assert run(capsys, "check", LESSON)[0] == 1

    write(wrong_program())
    status, text = run(capsys, "check", LESSON)
    assert status == 1
    assert f"WRONG  {FIRST.key}" in text
    assert "0 of 6 points" in text
    assert f"python -m lessons hint {FIRST.key}" in text

    for number, words in enumerate([*FIRST.hints, FIRST.hints[-1]], start=1):
        status, text = run(capsys, "hint", FIRST.key)
        assert status == 0
        assert words in text
        assert text.count("Hint") == min(number, 3)

    write(right_program())
    status, text = run(capsys, "check", LESSON)
    assert (status, "6 of 6 points" in text) == (0, True)
    status, text = run(capsys, "status")
    assert re.search(rf"{FIRST.key} .* right +1 +3", text)
    assert "6 of 100 points" in text


def test_start_never_overwrites_and_reset_keeps_a_backup(capsys):
    write("mine = 1")
    assert run(capsys, "start", LESSON)[0] == 0
    assert "mine" in workspace.path(LESSON).read_text(encoding="utf-8")
    for _ in range(2):
        assert run(capsys, "reset", LESSON)[0] == 0
    assert workspace.path(LESSON).read_text(encoding="utf-8") == workspace.stub(LESSON)
    backups = [path.read_text(encoding="utf-8") for path in workspace.FOLDER.glob("*.backup.py")]
    assert len(backups) == 2
    assert any("mine" in text for text in backups)


def test_a_solution_is_shown_after_three_tries_or_on_giving_up(capsys):
    status, text = run(capsys, "solution", FIRST.key)
    assert (status, "3 more" in text) == (1, True)
    last = workspace.reference_code(FIRST)[-1]
    assert last not in text
    status, text = run(capsys, "solution", FIRST.key, "--give-up")
    assert (status, last in text) == (0, True)
    write(wrong_program())
    progress.save({FIRST.key: progress.Record(tries=3, mistake="it gives nothing.")})
    status, text = run(capsys, "solution", FIRST.key)
    assert status == 0
    assert "-    return None" in text
    assert f"+{last}" in text
    assert "it gives nothing." in text


@pytest.mark.parametrize(
    "words",
    [
        ["check", LESSON],  # no such file yet
        ["check", "99"],
        ["check", "../01"],
        ["check"],
        ["hint", "01.z"],
        ["hint", "01"],
        ["frobnicate"],
        ["grade", "nowhere", "--seed", "-1"],
    ],
)
def test_bad_usage_is_one_line_and_status_2(capsys, words):
    status, text = run(capsys, *words)
    assert status == 2
    assert text.startswith("lessons: ")
    assert text.count("\n") == 1


@pytest.mark.parametrize("words", ["{", "[]", '{"01.a": 1}', '{"01.a": {"tries": "3"}}'])
def test_a_broken_record_of_progress_is_named(capsys, words):
    workspace.FOLDER.mkdir()
    Path("work/progress.json").write_text(words, encoding="utf-8")
    status, text = run(capsys, "status")
    assert (status, "progress.json" in text) == (2, True)


def test_a_student_sees_the_result_where_progress_cannot_be_kept(capsys):
    write(right_program())
    Path("work/progress.json").write_text("{", encoding="utf-8")
    status, text = run(capsys, "check", LESSON)
    assert (status, "6 of 6 points" in text) == (2, True)
    assert "progress.json cannot be read" in text


def test_progress_is_written_whole():
    progress.save({FIRST.key: progress.Record(tries=2)})
    assert json.loads(Path("work/progress.json").read_text(encoding="utf-8")) == {
        FIRST.key: {"tries": 2, "hints": 0, "passed": False, "mistake": ""}
    }
    assert progress.load()[FIRST.key].tries == 2
    assert os.listdir("work") == ["progress.json"]


def test_the_doctor_finds_everything_in_place(capsys):
    status, text = run(capsys, "doctor")
    assert (status, "WRONG" in text) == (0, False)


def test_the_doctor_says_what_is_missing(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    status, text = run(capsys, "doctor")
    assert status == 1
    assert "WRONG  packages" in text
    assert "pip install" in text


def test_the_commands_run_from_any_folder_and_without_colour_in_a_pipe():
    root = Path(__file__).resolve().parents[1]
    environment = os.environ | {"PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "lessons", "start", LESSON]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "\033" not in result.stdout
    assert workspace.path(LESSON).exists()


def test_the_grader_works_where_a_system_lacks_what_others_have(tmp_path):
    write(right_program())
    command = [sys.executable, "-m", "lessons", "check", LESSON]
    environment = environment_without(tmp_path) | {"PYTHONUTF8": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result
    assert result.stderr == "absent\n"
