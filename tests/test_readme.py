"""What the readme promises exists: its tests, its files, its commands, its example."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| .* \| `(geonet/[^`]+)` \| (.*) \|$", README, flags=re.MULTILINE)


def test_the_table_of_equations_is_found():
    assert len(ROWS) >= 15


@pytest.mark.parametrize(("code", "tests"), ROWS)
def test_every_equation_has_its_file_and_its_tests(code, tests):
    assert (ROOT / code).exists()
    file = ""
    for reference in re.findall(r"`([^`]+)`", tests):
        named, _, test = reference.partition("::")
        file = named or file
        assert f"def {test}(" in (ROOT / "tests" / file).read_text(encoding="utf-8")


def test_its_picture_exists():
    for path in re.findall(r"\]\((\.pictures/[^)]+)\)", README):
        assert (ROOT / path).exists()


def test_its_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(code, {})
    assert "radians" in capsys.readouterr().out


def test_nothing_is_left_to_fill_in():
    assert not re.search(r"@[A-Z]+@|TODO", README)
