"""What an exercise is: a function to write, inputs to try it on, answers right and wrong."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Wrong:
    """A wrong solution that students are known to write.

    Parameters
    ----------
    name : str
        The misconception in a few words, such as "forgets the chain rule's inner factor".
    solve : callable
        The wrong solution, with the signature of the reference.
    why : str
        One or two sentences for the student who made it: what is wrong, without the solution.
    """

    name: str
    solve: Callable
    why: str


@dataclass(frozen=True)
class Exercise:
    """One function to write, and all that the grader needs to judge it.

    Parameters
    ----------
    key : str
        Lesson and letter, such as "06.b".
    title : str
    points : int
        Of 100 in the whole course.
    difficulty : int
        From 1 to 5.
    solve : callable
        The reference. Name, signature and docstring are those of the stub, so the docstring says
        what is asked (shapes, the equation) and holds no line of the solution. It returns an
        array, a number, or a tuple of these.
    inputs : callable
        ``inputs()`` is a hypothesis strategy of tuples of arguments, which shrink to something
        small and readable.
    hints : tuple of three str
        From a nudge to nearly the answer.
    wrong : tuple of Wrong
        At least six, which differ from the reference and from each other on the inputs.
    right : tuple of callable
        At least two right solutions, written differently from the reference.
    tolerance : float
        Largest error, relative to the largest entry of the array (for a gradient: of the column).
        Differences within rounding of the largest input or output also pass.
    kind : {"values", "gradient"}
        A gradient is compared column by column (a column is one index of the last axis), so that
        a zero gradient for a column of tiny entries fails.
    imports : tuple of str
        The modules that the stub imports; "numpy" comes as np.
    """

    key: str
    title: str
    points: int
    difficulty: int
    solve: Callable
    inputs: Callable
    hints: tuple[str, str, str]
    wrong: tuple[Wrong, ...]
    right: tuple[Callable, ...]
    tolerance: float = 1e-9
    kind: str = "values"
    imports: tuple[str, ...] = ("numpy",)

    @property
    def lesson(self):
        """The number of the lesson, as "06"."""
        return self.key.partition(".")[0]

    @property
    def name(self):
        """The name of the function to write."""
        return self.solve.__name__
