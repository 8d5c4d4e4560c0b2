"""One function against its exercise: the checks in order, the smallest input, the misconception."""

import contextlib
import copy
import functools
import inspect
import io
import itertools
import re
import time
import traceback
import warnings
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

import hypothesis
import numpy as np

from lessons.compare import Mistake, difference

EXAMPLES = 60  # inputs that a function is tried on
LARGEST_SEARCH = 400  # calls in search of the smallest failing input
PATIENCE = 15.0  # seconds after which a failing function is tried no more
STAGES = ("unwritten", "imports", "signature", "time", "crash", "error", "inputs",
          "shape", "dtype", "finite", "values", "gradient")  # fmt: skip


@dataclass(frozen=True)
class Result:
    """How a sub-exercise went; `stage` is the check that failed, empty if none did."""

    key: str
    title: str
    points: int
    score: int
    stage: str = ""
    message: str = ""
    entry: str = ""
    got: str = ""
    expected: str = ""
    inputs: str = ""  # the smallest failing arguments, as lines of Python
    printed: str = ""  # what the function printed for them
    misconception: str = ""
    why: str = ""

    @property
    def passed(self):
        """Whether the exercise is solved."""
        return not self.stage


@dataclass
class Outcome:
    """What a function did with arguments."""

    value: object = None
    error: BaseException | None = None
    changed: int = 0  # the number of the argument that it changed, from 1
    printed: str = field(default="", compare=False)


class Trial(NamedTuple):
    """One call of a function and what is wrong with it, if anything is."""

    mistake: Mistake | None
    arguments: tuple
    outcome: Outcome


def failed(exercise, mistake, **more):
    """The result of an exercise that is not solved."""
    return Result(exercise.key, exercise.title, exercise.points, 0, **asdict(mistake), **more)


def grade(exercise, function, seed=0, watch=contextlib.nullcontext, file=""):
    """Check one function.

    Parameters
    ----------
    exercise : Exercise
    function : callable
        The student's.
    seed : int
        Of the inputs; 0 is what students see.
    watch : callable
        ``watch(arguments)`` is a context manager around each call of the student's function.
    file : str
        The student's file: errors name the line in it.

    Returns
    -------
    Result
        All points or none.
    """
    names = list(inspect.signature(exercise.solve).parameters)
    if not _takes(function, names):
        message = f"the function must be {exercise.name}({', '.join(names)}), but it "
        message += _parameters(function)
        return failed(exercise, Mistake("signature", message))

    one = functools.partial(judge, exercise, function, watch=watch, file=file)
    for solve in (exercise.solve, *exercise.right):  # compiles what they use, outside the watch
        call(solve, inputs(exercise, seed)[0])
    deadline = time.monotonic() + PATIENCE
    trials = []
    for arguments in inputs(exercise, seed):
        trials.append(one(arguments))
        if trials[-1].mistake and time.monotonic() > deadline:
            break
    failing = [trial for trial in trials if trial.mistake]
    if not failing:
        return Result(exercise.key, exercise.title, exercise.points, exercise.points)
    first = min(failing, key=lambda trial: STAGES.index(trial.mistake.stage))
    if first.mistake.stage == "unwritten":
        return failed(exercise, first.mistake)
    wrong = misconception(exercise, trials)
    known = {"misconception": wrong.name, "why": wrong.why} if wrong else {}
    mistake, arguments, outcome = _smallest(exercise, seed, one, first, deadline)
    known |= {"inputs": show(exercise, arguments), "printed": outcome.printed}
    return failed(exercise, mistake, **known)


def judge(exercise, function, arguments, watch=contextlib.nullcontext, file=""):
    """Try a function on arguments; the parameters are those of `grade`."""
    with watch(arguments):
        outcome = call(function, arguments)
    return Trial(_mistake(exercise, arguments, outcome, file), arguments, outcome)


@functools.lru_cache(maxsize=8)
def inputs(exercise, seed):
    """The arguments that an exercise is tried on: the same for the same seed."""
    drawn = []
    _search(exercise, seed, drawn.append, [hypothesis.Phase.generate])
    return drawn


def misconception(exercise, trials):
    """The wrong solution that did the same in all trials, or None."""
    for wrong in exercise.wrong:
        if all(_alike(call(wrong.solve, t.arguments), t, exercise) for t in trials):
            return wrong
    return None


def call(function, arguments):
    """Call a function with copies of the arguments, whatever it does."""
    given = copy.deepcopy(arguments)
    printed, quiet = io.StringIO(), warnings.catch_warnings(action="ignore")
    with contextlib.redirect_stdout(printed), np.errstate(all="ignore"), quiet:
        try:
            outcome = Outcome(value=function(*given))
        except BaseException as error:  # an exit is the student's too
            traceback.clear_frames(error.__traceback__)  # they may hold all memory there is
            outcome = Outcome(error=error)
    changed = [k for k, (a, b) in enumerate(zip(arguments, given), 1) if not _same(a, b)]
    outcome.changed = changed[0] if changed else 0
    outcome.printed = printed.getvalue()
    return outcome


def show(exercise, arguments):
    """Arguments as lines of Python."""
    names = inspect.signature(exercise.solve).parameters
    return "\n".join(f"{name} = {_python(value)}" for name, value in zip(names, arguments))


def _smallest(exercise, seed, one, first, deadline):
    """The trial of the smallest input found that fails at the stage at which the first one did."""
    found = [first]
    calls = itertools.count()

    def run(arguments):
        trial = one(arguments)
        failing = trial.mistake and trial.mistake.stage == first.mistake.stage
        if failing:
            found.append(trial)
        if next(calls) >= LARGEST_SEARCH or time.monotonic() > deadline:
            raise _EnoughError
        if failing:
            raise _FoundError

    # A function that answers the same input differently is wrong too, but Hypothesis objects.
    with contextlib.suppress(_FoundError, _EnoughError, hypothesis.errors.Flaky):
        _search(exercise, seed, run, [hypothesis.Phase.generate, hypothesis.Phase.shrink])
    return found[-1]


def _search(exercise, seed, visit, phases):
    """Have Hypothesis visit arguments."""

    @hypothesis.settings(
        max_examples=EXAMPLES,
        phases=phases,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
        verbosity=hypothesis.Verbosity.quiet,
    )
    @hypothesis.seed(seed)
    @hypothesis.given(exercise.inputs())
    def run(arguments):
        visit(arguments)

    run()


class _EnoughError(BaseException):  # not an Exception, so that Hypothesis lets it pass
    pass


class _FoundError(Exception):
    pass


def _takes(function, arguments):
    """Whether a function can be called with these, one after the other."""
    try:
        inspect.signature(function).bind(*arguments)
    except (TypeError, ValueError):
        return False
    return True


def _parameters(function):
    """What is there instead of a function with the right parameters, as the end of a sentence."""
    if function is None:
        return "is not there"
    if not callable(function):
        return f"is of type {type(function).__name__}"
    try:
        return f"takes {inspect.signature(function)}"
    except (TypeError, ValueError):  # some built-in functions do not tell
        return "does not tell its parameters"


def _mistake(exercise, arguments, outcome, file):
    """What is wrong with an outcome, or None."""
    if isinstance(outcome.error, NotImplementedError):
        return Mistake("unwritten", "not written yet")
    if outcome.error is not None:
        return Mistake("error", describe(outcome.error, file))
    if outcome.changed:
        message = f"the function changes its argument number {outcome.changed}: work on a copy"
        return Mistake("inputs", message)
    expected = call(exercise.solve, arguments)
    if expected.error is not None:
        raise expected.error
    return difference(expected.value, outcome.value, exercise, arguments)


def describe(error, file=""):
    """An exception in a line, with the last line of the file that it came through."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    if isinstance(error, SyntaxError) and error.filename == file:
        lines, error = [error.lineno], f"SyntaxError: {error.msg}"
    else:
        text = " ".join(str(error).split())
        error = f"{type(error).__name__}: {text:.200}" if text else type(error).__name__
    return f"line {lines[-1]}: {error}" if lines else str(error)


def _alike(wrong, trial, exercise):
    """Whether a wrong solution had the outcome of a trial."""
    outcome = trial.outcome
    if type(wrong.error) is not type(outcome.error) or wrong.changed != outcome.changed:
        return False
    return wrong.error is not None or not difference(
        wrong.value, outcome.value, exercise, trial.arguments
    )


def _same(before, after):
    """Whether an argument is as it was; random generators are there to be advanced."""
    if isinstance(before, tuple | list):
        return len(before) == len(after) and all(map(_same, before, after))
    if isinstance(before, np.ndarray):
        return before.shape == after.shape and before.tobytes() == after.tobytes()
    return True


def _python(value):
    """A value as Python, shortened where it is long."""
    if isinstance(value, np.ndarray):
        if value.size > 64:
            return f"an array of shape {value.shape}: {np.array2string(value, threshold=8)}"
        dtype = "" if value.dtype in (np.float64, np.int64) else f", dtype=np.{value.dtype}"
        return re.sub(r"\b(nan|inf)\b", r"np.\1", f"np.array({value.tolist()}{dtype})")
    if isinstance(value, np.generic):
        return str(value.item())
    if inspect.isfunction(value):
        return value.__name__
    return f"{value!r:.300}"
