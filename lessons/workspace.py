"""The student's folder: stubs to fill in, backups, and the code of one function."""

import ast
import inspect
import os
import time
from pathlib import Path

from geonet.files import write_whole
from lessons import exercises

FOLDER = Path("work")


def path(lesson):
    """The student's file of a lesson, in the current folder."""
    return FOLDER / f"{lesson}.py"


def stub(lesson):
    """The text of a file with every function of a lesson still to be written."""
    asked = exercises.of_lesson(lesson)
    modules = dict.fromkeys(name for exercise in asked for name in exercise.imports)
    command = f"python -m lessons check {lesson}"
    head = f'"""Lesson {lesson}: write the functions, then run {command}."""\n\n'
    return head + "".join(map(_import, modules)) + "".join(map(_function, asked))


def start(lesson):
    """Write the stubs of a lesson, unless there is a file; return whether it was written."""
    if os.path.lexists(path(lesson)):
        return False
    text = stub(lesson)
    write_whole(path(lesson), lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return True


def reset(lesson):
    """Put the stubs in place of the student's file; return where the file is kept, if any."""
    backup = None
    if path(lesson).exists():
        backup = FOLDER / f"{lesson}-{time.strftime('%Y%m%d-%H%M%S')}.backup.py"
        count = 1
        while backup.exists():
            backup = backup.with_name(f"{backup.name.partition('.')[0]}.{count}.backup.py")
            count += 1
        os.replace(path(lesson), backup)
    start(lesson)
    return backup


def code(source, name):
    """The lines of a function in a program, without its docstring; none if it is not there."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            lines = source.splitlines()
            skipped = set()
            if ast.get_docstring(node):
                skipped = set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
            numbers = range(node.lineno, node.end_lineno + 1)
            return [lines[number - 1] for number in numbers if number not in skipped]
    return []


def students_code(exercise):
    """The lines of the student's function, without its docstring."""
    file = path(exercise.lesson)
    text = file.read_text(encoding="utf-8-sig", errors="replace") if file.exists() else ""
    return code(text, exercise.name)


def reference_code(exercise):
    """The lines of the reference, without its docstring."""
    return code(inspect.getsource(exercise.solve), exercise.name)


def _import(module):
    if module == "numpy":
        return "import numpy as np\n"
    package, _, name = module.rpartition(".")
    return f"from {package} import {name}\n" if package else f"import {module}\n"


def _function(exercise):
    """One function of the stub: signature and docstring of the reference, and no body."""
    definition = ast.parse(inspect.getsource(exercise.solve)).body[0]
    lines = ast.get_docstring(definition).splitlines()  # python -OO has it in the source only
    if len(lines) > 1:
        lines.append("")
    text = "\n".join(f"    {line}" if line else "" for line in lines[1:])
    text = "\n".join([lines[0], text]) if text else lines[0]
    quotes = 'r"""' if "\\" in text else '"""'
    closing = "    " if len(lines) > 1 else ""
    of = f"{exercise.points} points, difficulty {exercise.difficulty} of 5"
    return (
        f"\n\n# {exercise.key}  {exercise.title} ({of})\n"
        f"def {exercise.name}({ast.unparse(definition.args)}):\n"
        f'    {quotes}{text}{closing}"""\n'
        f'    raise NotImplementedError("{exercise.key} is not written yet")\n'
    )
