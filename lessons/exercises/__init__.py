"""The exercises of every lesson: `eNN.py` has those of lesson NN, in a list EXERCISES."""

import importlib
import pkgutil


def lessons():
    """The numbers of the lessons that have exercises, as ["01", "02", …]."""
    return sorted(m.name[1:] for m in pkgutil.iter_modules(__path__) if m.name[1:].isdecimal())


def of_lesson(lesson):
    """The exercises of a lesson, in order.

    Raises
    ------
    KeyError
        If the lesson has none.
    """
    if lesson not in lessons():
        raise KeyError(lesson)
    return tuple(importlib.import_module(f"{__name__}.e{lesson}").EXERCISES)


def find(key):
    """The exercise of a key such as "06.b"; a KeyError if there is none."""
    for exercise in of_lesson(key.partition(".")[0]):
        if exercise.key == key:
            return exercise
    raise KeyError(key)


def every():
    """All exercises of the course."""
    return [exercise for lesson in lessons() for exercise in of_lesson(lesson)]
