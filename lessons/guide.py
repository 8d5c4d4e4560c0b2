"""The parts of the teacher's guide that follow from the lessons and exercises.

`python -m lessons.guide` writes them anew into TEACHING.md. What an exercise probes is written
there by hand, in the paragraph that begins with "Probes", and is kept.
"""

import re

from lessons import exercises, percent

GUIDE = percent.FOLDER / "TEACHING.md"
_PROBES = re.compile(r"^### (\d\d\.\w+) .*?\n\nProbes (.*?)\n\n", re.MULTILINE | re.DOTALL)
UNKNOWN = "what the author still has to say."


def probes(text):
    """What each exercise probes, by key, as a guide has it."""
    return {key: words for key, words in _PROBES.findall(text) if words != UNKNOWN}


def timetable():
    """A row for each lesson: minutes of reading, exercises, points."""
    rows = ["| lesson | minutes | difficulty | exercises | points |", "|---|---|---|---|---|"]
    total = [0, 0, 0]
    for lesson in map(percent.read, percent.paths()):
        asked = exercises.of_lesson(lesson.number)
        numbers = (int(lesson.minutes), len(asked), sum(e.points for e in asked))
        total = [a + b for a, b in zip(total, numbers)]
        levels = sorted({e.difficulty for e in asked})
        span = f"{levels[0]} to {levels[-1]}" if len(levels) > 1 else f"{levels[0]}"
        difficulty = f"{lesson.difficulty}, exercises {span}"
        rows.append(
            f"| {lesson.title} | {numbers[0]} | {difficulty} | {numbers[1]} | {numbers[2]} |"
        )
    rows.append(f"| in all | {total[0]} | | {total[1]} | {total[2]} |")
    return "\n".join(rows)


def mistakes(known):
    """A section for each exercise: what it probes (from `known`), and the common wrong answers."""
    sections = []
    for exercise in exercises.every():
        wrong = [f"- **{each.name}**: {each.why}" for each in exercise.wrong]
        sections += [
            f"### {exercise.key} {exercise.title}",
            f"`{exercise.name}`, {exercise.points} points, difficulty {exercise.difficulty} of 5.",
            f"Probes {known.get(exercise.key, UNKNOWN)}",
            "Common wrong answers:",
            "\n".join(wrong),
        ]
    return "\n\n".join(sections)


def updated(text):
    """The guide with its generated parts as they are now."""
    for name, part in (("timetable", timetable()), ("exercises", mistakes(probes(text)))):
        start, end = f"<!-- {name}: generated -->", f"<!-- {name}: end -->"
        before, found, rest = text.partition(start)
        _, ended, after = rest.partition(end)
        if not (found and ended):
            raise ValueError(f"the guide must have the lines {start} and {end}")
        text = f"{before}{start}\n\n{part}\n\n{end}{after}"
    return text


if __name__ == "__main__":
    GUIDE.write_text(updated(GUIDE.read_text(encoding="utf-8")), encoding="utf-8")
