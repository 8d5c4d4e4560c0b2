"""What a student has tried, seen and solved: work/progress.json."""

import json
from dataclasses import asdict, dataclass

from geonet.files import write_whole
from geonet.text import BadInput
from lessons import exercises, workspace


@dataclass
class Record:
    """One exercise: tries that failed, hints seen, whether it is solved, the last mistake."""

    tries: int = 0
    hints: int = 0
    passed: bool = False
    mistake: str = ""


def _path():
    return workspace.FOLDER / "progress.json"


def load():
    """The records of all exercises, by key.

    Raises
    ------
    BadInput
        If the file cannot be understood.
    """
    path = _path()
    records = {exercise.key: Record() for exercise in exercises.every()}
    if path.exists():
        try:
            kept = json.loads(path.read_text(encoding="utf-8-sig"))
            records |= {key: _record(fields) for key, fields in kept.items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise BadInput(f"{path} cannot be read ({error}); delete it to start again") from error
    return records


def _record(fields):
    """A record from the fields in a file, which somebody may have edited by hand."""
    record = Record(**fields)
    for name, value in asdict(Record()).items():
        if type(getattr(record, name)) is not type(value):
            raise TypeError(f"{name} must be of type {type(value).__name__}")
    return record


def save(records):
    """Write the records, whole or not at all."""
    workspace.FOLDER.mkdir(exist_ok=True)
    text = json.dumps({key: asdict(r) for key, r in records.items() if r != Record()}, indent=1)
    write_whole(_path(), lambda path: path.write_text(text + "\n", encoding="utf-8"))


def note(results):
    """Add results of the grader to the records."""
    records = load()
    for result in results:
        record = records[result.key]
        record.passed = result.passed
        if result.stage != "unwritten":
            record.tries += result.stage not in ("", "imports")
            record.mistake = result.why or result.message
    save(records)


def points(records, wanted):
    """The student's points in these exercises."""
    return sum(e.points for e in wanted if records[e.key].passed)
