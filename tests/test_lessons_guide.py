"""The teacher's guide is true: what it says of lessons and exercises is what they are."""

import pytest

from lessons import exercises, guide, page, percent

TEXT = guide.GUIDE.read_text(encoding="utf-8")


def test_the_guide_is_up_to_date():
    assert guide.updated(TEXT) == TEXT, "run python -m lessons.guide"


def test_the_guide_names_every_wrong_answer_under_its_exercise():
    for exercise in exercises.every():
        section = TEXT.split(f"### {exercise.key} {exercise.title}\n")[1]
        section = section.split("\n###")[0].split("<!--")[0]
        names = [line[4:].split("**")[0] for line in section.splitlines() if line[:4] == "- **"]
        assert names == [wrong.name for wrong in exercise.wrong]


def test_the_guide_says_what_every_exercise_probes():
    missing = {e.key for e in exercises.every()} - set(guide.probes(TEXT))
    assert not missing, f"write a paragraph 'Probes …' for {missing} into lessons/TEACHING.md"


def test_what_was_written_by_hand_is_kept():
    first = exercises.every()[0]
    changed = TEXT.replace(guide.probes(TEXT)[first.key], "something else.")
    assert guide.probes(guide.updated(changed))[first.key] == "something else."


def test_the_totals_of_the_guide_are_those_of_the_course():
    points = sum(exercise.points for exercise in exercises.every())
    minutes = sum(int(percent.read(path).minutes) for path in percent.paths())
    assert f"| in all | {minutes} | | {len(exercises.every())} | {points} |" in TEXT


def test_a_guide_without_the_places_for_generated_parts_is_refused():
    with pytest.raises(ValueError, match="timetable: generated"):
        guide.updated("# A guide\n")


def test_students_see_the_notation_and_glossary_of_the_guide(tmp_path):
    page.html(tmp_path, run=False, lessons=percent.paths()[:1])
    shown = (tmp_path / "notation.html").read_text(encoding="utf-8")
    assert "<h2>Notation</h2>" in shown
    assert "<h2>Glossary</h2>" in shown
    assert "<td>λ</td><td><code>lambda_</code></td>" in shown
    assert "Probes" not in shown
