"""Figures of the lessons: each has a text alternative, and colours that everyone can tell apart."""

import base64
import html
import io
import json
import re
from pathlib import Path

from geonet.plots import base

Figure = base.Figure
base.matplotlib.style.use("default")  # lessons draw with it, whatever style the user has chosen

FOLDER = Path("results", "lessons")
COLOURS = base.PALETTE
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LINES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (3, 3)), (0, (8, 2)),
          (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))  # fmt: skip

shown = None  # while a page is made of a lesson: a list of its figures, in place of words on them


def style(k):
    """Colour, line style and marker number k, as keywords of `Axes.plot`."""
    k %= len(COLOURS)
    return {"color": COLOURS[k], "linestyle": _LINES[k], "marker": _MARKERS[k]}


def new(rows=1, columns=1, size=(6.0, 4.0), **keywords):
    """A figure and its axes as of `plt.subplots`, without a window; `size` is in inches."""
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, **keywords)


def save(figure, name, alt, title=None):
    """Write results/lessons/name.png and name.svg in the current folder, and print where.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    name : str
        File name without its ending: letters, digits, ``_`` and ``-``.
    alt : str
        What the figure shows, in sentences, for those who cannot see it.
    title : str, optional
        A few words; the name if not given.

    Returns
    -------
    png, svg : Path

    Raises
    ------
    ValueError
        If there is no text alternative, or `name` has other characters.
    """
    own_title, alt = _described(name, alt, title)
    png, svg = base.save(figure, FOLDER, name, own_title, alt)
    if shown is None:
        print(f"Figure {svg.as_posix()}: {alt}")
    else:
        shown.append({"name": name, "alt": alt, "title": title or "", "animated": False})
    return png, svg


def animate(draw, count, name, alt, title=None, still=-1, seconds=0.2):
    """Write an animation: results/lessons/name.html, and one frame as name.png and name.svg.

    Parameters
    ----------
    draw : callable
        ``draw(k)`` is the figure of frame k, for k from 0 to count − 1.
    count : int
    name, alt, title
        As of `save`; the text says what moves.
    still : int
        The frame that is shown where nothing can move.
    seconds : float
        How long a frame stays.

    Returns
    -------
    page : Path
        It holds its frames, works offline, and stands still until it is asked to play.
    """
    own_title, alt = _described(name, alt, title)
    still %= count
    frames = []
    for k in range(count):
        stream = io.BytesIO()
        draw(k).savefig(stream, format="png", dpi=100)
        frames.append("data:image/png;base64," + base64.b64encode(stream.getvalue()).decode())
    save(draw(still), name, alt, title)
    words = {"title": own_title, "alt": alt, "still": frames[still]}
    fields = {key: html.escape(text) for key, text in words.items()}
    fields |= {"last": count - 1, "first": still, "frames": json.dumps(frames)}
    page = FOLDER / f"{name}.html"
    page.write_text(_PAGE.format(milliseconds=round(1000 * seconds), **fields), encoding="utf-8")
    if shown is None:
        print(f"Animation {page.as_posix()}: open it in a browser")
    else:
        shown[-1]["animated"] = True
    return page


def _described(name, alt, title):
    """The title and the text alternative, in one line, of a figure; raises ValueError as `save`."""
    if not re.fullmatch(r"[\w-]+", name):
        raise ValueError(f"name must be of letters, digits, _ and -, but is {name!r}")
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(f"alt of figure {name!r} must say what the figure shows, but is {alt!r}")
    return title or re.sub(r"[_-]+", " ", name), " ".join(alt.split())


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font-family: sans-serif; margin: 0.5em; max-width: 60em; }}
img {{ max-width: 100%; height: auto; }}
button, input {{ font-size: 1em; margin: 0.2em; }}
@media print {{ form {{ display: none; }} }}
</style>
</head>
<body>
<img id="frame" src="{still}" alt="{alt}">
<form id="controls" hidden>
<button type="button" id="play">Play</button>
<button type="button" id="back">One back</button>
<button type="button" id="on">One on</button>
<label>Frame <input type="range" id="at" min="0" max="{last}" value="{first}"></label>
<output id="number"></output>
</form>
<p>{alt}</p>
<script>
const frames = {frames};
const [frame, play, at, number] = ["frame", "play", "at", "number"].map(
  (id) => document.getElementById(id));
let timer = null;
function show(k) {{
  at.value = (k + frames.length) % frames.length;
  frame.src = frames[at.value];
  number.value = `${{+at.value + 1}} of ${{frames.length}}`;
}}
function pause() {{
  clearInterval(timer);
  timer = null;
  play.textContent = "Play";
}}
function step(by) {{ pause(); show(+at.value + by); }}
play.onclick = () => {{
  if (timer !== null) {{ pause(); return; }}
  play.textContent = "Pause";
  timer = setInterval(() => show(+at.value + 1), {milliseconds});
}};
document.getElementById("back").onclick = () => step(-1);
document.getElementById("on").onclick = () => step(1);
at.oninput = () => {{ pause(); show(+at.value); }};
document.getElementById("controls").hidden = false;
show({first});
</script>
</body>
</html>
"""
