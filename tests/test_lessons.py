"""The lessons: twelve, in order, each running alone from any folder without installation."""

import os
import subprocess
import sys

import pytest

from lessons import percent

PATHS = percent.paths()
every_lesson = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def test_there_are_twelve_lessons():
    assert [path.name[:2] for path in PATHS] == [f"{k:02}" for k in range(1, 13)]


@every_lesson
def test_the_header_says_what_a_reader_must_know(path):
    lesson = percent.read(path)
    assert lesson.title.startswith(f"{lesson.number} · ")
    assert lesson.difficulty in [f"{k} of 5" for k in range(1, 6)]
    assert 10 <= int(lesson.minutes) <= 120
    assert lesson.cells[-1].kind == "markdown"
    assert f"python -m lessons start {lesson.number}" in lesson.cells[-1].text


@pytest.mark.slow
@every_lesson
def test_a_lesson_runs_and_writes_its_figure(path, tmp_path):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, str(path), *["--quick"] * (path.name[:2] >= "10")]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.count("\n") >= 5
    for ending in ("svg", "png", *["html"] * path.name.startswith("09")):
        assert list(tmp_path.glob(f"results/lessons/{path.name[:2]}*.{ending}"))
