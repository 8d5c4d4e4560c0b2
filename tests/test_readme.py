"""What the pages for readers promise exists: tests, files, commands, an example."""

import re
import shlex
from pathlib import Path

import pytest

from geonet.__main__ import build_parser
from geonet.experiments import find

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "geonet/README.md", "geonet/experiments/RESULTS.md", "geonet/bench/README.md")
TEXTS = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
ROWS = re.findall(r"^\| .* \| `([^`]+)` \| (`test_.*) \|$", TEXTS["geonet/README.md"], re.MULTILINE)
COMMANDS = sorted(set(re.findall(r"python -m geonet ?([^`#\n]*)", "\n".join(TEXTS.values()))))


def test_the_table_of_equations_is_found():
    assert len(ROWS) >= 25


@pytest.mark.parametrize(("code", "tests"), ROWS)
def test_every_equation_has_its_file_and_its_tests(code, tests):
    assert (ROOT / "geonet" / code).exists()
    file = ""
    for reference in re.findall(r"`([^`]+)`", tests):
        named, _, test = reference.partition("::")
        file = named or file
        assert f"def {test}(" in (ROOT / "tests" / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_links_to_exists(page):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", TEXTS[page])
    assert [t for t in targets if not (ROOT / page).parent.joinpath(t).exists()] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_one_that_the_program_takes(command):
    command = re.sub("--executor [^ ]+|COMMAND --help", "", command)  # with packages of their own
    build_parser(find()).parse_args(shlex.split(command))


def test_the_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", TEXTS["README.md"], flags=re.DOTALL)
    exec(code, {})
    assert "radians" in capsys.readouterr().out


def test_the_first_page_is_short():
    assert len(TEXTS["README.md"].splitlines()) <= 150


def test_nothing_is_left_to_fill_in():
    assert not re.search(r"@[A-Z]+@|TODO", "".join(TEXTS.values()))
