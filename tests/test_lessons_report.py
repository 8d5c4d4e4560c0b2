"""Results in words: colours only mark what the words say."""

from lessons import report
from lessons.grader import Result

RIGHT = Result("06.a", "Pullback", 4, 4)
WRONG = Result(
    "06.b",
    "Pullback of many",
    4,
    0,
    stage="gradient",
    message="1 of 2 entries of the result are wrong",
    entry="[0, 1]",
    got="2",
    expected="1",
    inputs="theta = np.array([0.5])\ng = 1.0",
    printed="here\n" * 30,
    misconception="forgets a factor",
    why="There are two.",
)


def test_a_failure_says_all_that_is_known():
    text = report.text(WRONG)
    for words in (
        "WRONG  06.b  Pullback of many: 0 of 4 points, the gradient is wrong",
        "    theta = np.array([0.5])\n           g = 1.0",
        "Entry [0, 1]: yours is 2, right is 1",
        "20 more lines",
        "forgets a factor",
        "There are two.",
        "python -m lessons hint 06.b",
    ):
        assert words in text


def test_a_success_is_one_line():
    assert report.text(RIGHT) == "right  06.a  Pullback: 4 of 4 points"


def test_colours_add_nothing_to_the_words(monkeypatch):
    for result in (RIGHT, WRONG):
        coloured = report.text(result, colour=True)
        assert "\033[" in coloured
        for code in ("\033[0m", "\033[31m", "\033[32m"):
            coloured = coloured.replace(code, "")
        assert coloured == report.text(result)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not report.colours()
