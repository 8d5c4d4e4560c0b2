"""The teacher's guide is true: what it says of lessons and exercises is what they are."""

import pytest

from lessons import exercises, guide, percent

TEXT = guide.GUIDE.read_text(encoding="utf-8")


def test_the_guide_is_up_to_date():
    assert guide.updated(TEXT) == TEXT, "run python -m lessons.guide"


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
