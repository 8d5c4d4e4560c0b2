"""The course as static pages: text, code, output and figures, which work offline."""

import re
import shutil
import tempfile
from html import escape
from pathlib import Path

from lessons import exercises, markdown, percent, running

STYLE = percent.FOLDER / "page.css"
GUIDE = percent.FOLDER / "TEACHING.md"
SHARED = ("Notation", "Glossary")  # sections of the guide that every student needs
COURSE = "Geometric parameterization, from a gradient by hand to a residual network"
INTRODUCTION = (
    "Each lesson is a text, a program and a figure. The exercises are done at the command line: "
    "<code>python -m lessons</code> lists them, and says how to begin."
)

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="page.css">
</head>
<body>
<a class="skip" href="#main">Skip to the text</a>
<header><nav aria-label="Course">{top}</nav></header>
<main id="main">
{content}
</main>
<footer><nav aria-label="Neighbouring pages">{bottom}</nav></footer>
</body>
</html>
"""


def html(folder, run=True, lessons=None):
    """Write the whole course into a folder as pages that work offline; index.html comes first.

    Parameters
    ----------
    folder : str or Path
        Made if missing. Pages of an earlier call are written over.
    run : bool
        Run every lesson and show what it prints and draws.
    lessons : list of Path, optional
        The files of the lessons; all of the course if not given.

    Returns
    -------
    int
        The exit status: 0, or 1 if a lesson failed, which its page and a message then show.

    Raises
    ------
    ValueError
        If a lesson's header or markdown is not as it should be.
    """
    folder = Path(folder)
    course = [percent.read(path) for path in lessons or percent.paths()]
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(STYLE, folder / STYLE.name)
    failed = []
    for i, lesson in enumerate(course):
        before, after = course[i - 1] if i else None, course[i + 1] if i + 1 < len(course) else None
        shown = _run(lesson, folder / "figures") if run else []
        content = _lesson(lesson, shown, course)
        _write(folder, _file(lesson), lesson.title, content, before, after)
        wrong = any(each.failed for each in shown)
        failed += [lesson.path.name] if wrong else []
        print(f"{lesson.title}{': FAILED, its page shows where' if wrong else ''}", flush=True)
    _write(folder, "notation.html", "Notation and glossary", _notation(), None, None)
    _write(folder, "index.html", COURSE, _index(course), None, course[0])
    print(f"Open {(folder / 'index.html').as_posix()} in a browser; it needs no network")
    return 1 if failed else 0


def _file(lesson):
    return f"{lesson.path.stem}.html"


def _run(lesson, figures):
    """What the lesson shows; what it draws goes to the folder `figures`."""
    with tempfile.TemporaryDirectory() as scratch:
        shown = running.run(lesson, scratch)
        for picture in (figure for each in shown for figure in each.figures):
            for ending in (".svg", ".html") if picture["animated"] else (".svg",):
                name = picture["name"] + ending
                shutil.copyfile(Path(scratch, "results", "lessons", name), figures / name)
    return shown


def _write(folder, name, title, content, before, after):
    links = [("index.html", "Contents"), ("notation.html", "Notation and glossary")]
    top = " ".join(f'<a href="{target}">{words}</a>' for target, words in links)
    bottom = ['<a href="index.html">Contents</a>']
    if before:
        bottom.insert(0, f'<a rel="prev" href="{_file(before)}">Before: {escape(before.title)}</a>')
    if after:
        bottom.append(f'<a rel="next" href="{_file(after)}">Next: {escape(after.title)}</a>')
    page = _PAGE.format(title=escape(title), top=top, content=content, bottom=" ".join(bottom))
    (folder / name).write_text(page, encoding="utf-8")


def _link(course):
    """Where links of the text lead to on the pages: from one lesson's file to another's page."""
    pages = {lesson.path.name: _file(lesson) for lesson in course}

    def link(target):
        if target.startswith(("http://", "https://")):
            return target
        # Other files of the project are not part of the pages: their words stay, the link goes.
        return pages.get(target.removeprefix("lessons/"))

    return link


def _lesson(lesson, shown, course):
    """The content of a lesson's page."""
    link, shown = _link(course), iter(shown)
    facts = [("Goal", lesson.goal), ("Time", f"{lesson.minutes} minutes"),
             ("Difficulty", lesson.difficulty), ("Symbols", lesson.symbols),
             ("Before", lesson.before)]  # fmt: skip
    rows = "\n".join(f"<dt>{key}</dt><dd>{markdown.inline(text, link)}</dd>" for key, text in facts)
    content = [f"<h1>{markdown.inline(lesson.title)}</h1>", f"<dl>\n{rows}\n</dl>"]
    for cell in lesson.cells:
        if cell.kind == "markdown":
            content.append(markdown.html(cell.text, link))
        else:
            content.append(markdown.code(cell.text))
            content += _output(next(shown, running.Shown("", [])))
    table = ["| | exercise | points | difficulty |", "|---|---|---|---|"]
    for each in exercises.of_lesson(lesson.number):
        table.append(f"| {each.key} | {each.title} | {each.points} | {each.difficulty} of 5 |")
    content.append(markdown.html("\n".join(table)))
    return "\n".join(content)


def _notation():
    """The parts of the teacher's guide that students need."""
    parts = re.split(r"^## ", GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    parts = {part.partition("\n")[0]: "## " + part for part in parts}
    text = "\n".join(parts[name] for name in SHARED)
    return f"<h1>Notation and glossary</h1>\n{markdown.html(text, lambda target: None)}"


def _index(course):
    """The content of the first page."""
    content = [f"<h1>{COURSE}</h1>", f"<p>{INTRODUCTION}</p>"]
    for lesson in course:
        own = exercises.of_lesson(lesson.number)
        work = f"{len(own)} exercises, {sum(e.points for e in own)} points"
        facts = [f"{lesson.minutes} minutes", f"difficulty {lesson.difficulty}", work]
        content += [
            f'<h2><a href="{_file(lesson)}">{escape(lesson.title)}</a></h2>',
            f"<p>{markdown.inline(lesson.goal[:1].upper() + lesson.goal[1:], _link(course))}</p>",
            f'<p class="facts">{" · ".join(facts)}</p>',
        ]
    return "\n".join(content)


def _output(shown):
    """What a cell printed and drew, as pieces of a page."""
    pieces = []
    if shown.output.strip():
        kind = "output failed" if shown.failed else "output"
        label = "Failed" if shown.failed else "Output"
        text = escape(shown.output.rstrip())
        pieces.append(f'<p class="label">{label}</p>')
        pieces.append(f'<pre class="{kind}" tabindex="0"><samp>{text}</samp></pre>')
    for picture in shown.figures:
        name, alt = picture["name"], escape(picture["alt"])
        caption = escape(picture["title"])
        if picture["animated"]:
            page = f'<a href="figures/{name}.html">Play the animation</a>, which can be paused'
            caption = f"{caption}. {page}." if caption else f"{page}."
        image = f'<img src="figures/{name}.svg" alt="{alt}">'
        words = f"<details><summary>The figure in words</summary>{alt}</details>"
        pieces.append(f"<figure>\n{image}\n<figcaption>{caption}{words}</figcaption>\n</figure>")
    return pieces
