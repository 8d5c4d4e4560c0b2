"""A graph as one page that needs no other file and no network, and can be read without scripts."""

from html import escape
from itertools import pairwise

from geonet.graph.summary import not_finite

LETTER, LINE = 7.25, 16  # width of a letter and height of a line in drawings, in pixels

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<svg class="shared" aria-hidden="true"><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4"
markerWidth="8" markerHeight="8" orient="auto" markerUnits="userSpaceOnUse"><path
d="M0 0L8 4L0 8z"/></marker></svg>
<a class="skip" href="#operations">Skip to the operations</a>
<header><h1>{title}</h1>{summary}</header>
<main>
<section class="map" aria-labelledby="map">
<h2 id="map">Modules</h2>
<p>The computation goes from its inputs, at the top, down to its result. Click on a box to go to the
operations of that module.</p>
{map}
</section>
<section aria-labelledby="operations">
<h2 id="operations">Operations</h2>
<p>By module, in the order in which they ran. Open a module, then an operation or a parameter, to
see its numbers and its equation. There y is the result and g = ∂L/∂y is its gradient.</p>
<p class="buttons" hidden><button type="button" data-open="1">Open all</button>
<button type="button" data-open="">Close all</button></p>
{groups}
</section>
</main>
<script>{script}</script>
</body>
</html>
"""

_STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1b1b1b; --soft: #555; --line: #8a8a8a;
  --link: #00508f; --operation: #e3eefa; --parameter: #e2f4ec; --input: #f3ecdd; --alarm: #a50000; }
@media (prefers-color-scheme: dark) { :root { --back: #16181b; --text: #ececec; --soft: #b4b4b4;
  --line: #8a8a8a; --link: #8cc4ff; --operation: #1d3450; --parameter: #17402f; --input: #463a1f;
  --alarm: #ff9c9c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 80rem; padding: 1rem; background: var(--back);
  color: var(--text); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { line-height: 1.2; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.skip { position: absolute; left: -99rem; }
.skip:focus { position: static; }
.drawing { overflow-x: auto; padding: .3rem; }
svg { display: block; font: 12px ui-monospace, Consolas, Menlo, "DejaVu Sans Mono", monospace; }
svg.shared { position: absolute; width: 0; height: 0; }
svg rect { stroke: var(--line); fill: var(--operation); }
svg .parameter rect { fill: var(--parameter); }
svg .input rect { fill: var(--input); }
svg text { fill: var(--text); text-anchor: middle; }
svg tspan:first-child { font-weight: bold; }
svg a:hover rect, svg a:focus-visible rect { stroke: var(--link); stroke-width: 3; }
svg path { fill: none; stroke: var(--line); stroke-width: 1.3; }
svg marker path { fill: var(--line); stroke: none; }
details.group { border: 1px solid var(--line); border-radius: .4rem; margin: .6rem 0; }
summary { cursor: pointer; padding: .35rem .6rem; }
details.group > summary { font-weight: bold; }
summary .words { color: var(--soft); font-weight: normal; }
.inside { padding: 0 .8rem .6rem; }
ol { list-style: none; margin: 0; padding: 0; }
.node { border-left: .4rem solid var(--operation); margin: .25rem 0; }
.node.parameter { border-color: var(--parameter); }
.node.input { border-color: var(--input); }
dt { color: var(--soft); font-size: .875rem; }
dd { margin: 0 0 .4rem; }
@media (min-width: 40rem) { dl { display: grid; grid-template-columns: 9rem 1fr; gap: .2rem 1rem; }
  dd { margin: 0; } }
code { font: .875rem ui-monospace, Consolas, Menlo, "DejaVu Sans Mono", monospace; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .3rem 0 .6rem; }
th, td { border-bottom: 1px solid var(--line); padding: .1rem .7rem .1rem 0; text-align: right;
  white-space: nowrap; }
th:first-child { text-align: left; font-weight: normal; }
@media (min-width: 64rem) { main { display: grid; grid-template-columns: auto 1fr; gap: 2rem; }
  .map { position: sticky; top: 0; align-self: start; max-height: 100vh; overflow-y: auto;
    max-width: 36rem; }
  .map p { max-width: 19rem; } }
section { min-width: 0; }
.alarm { color: var(--alarm); font-weight: bold; }
"""

_SCRIPT = """
const show = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (!target || target.tagName !== "DETAILS") return;
  for (let d = target; d; d = d.parentElement.closest("details")) d.open = true;
  target.firstElementChild.focus();
  target.scrollIntoView();
};
addEventListener("hashchange", show);
addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (link && link.getAttribute("href") === location.hash) show();
});
const buttons = document.querySelector(".buttons");
buttons.hidden = false;
buttons.addEventListener("click", (event) => {
  if (event.target.dataset.open === undefined) return;
  for (const d of document.querySelectorAll("details")) d.open = !!event.target.dataset.open;
});
show();
"""


def page(graph, title):
    """The text of the page.

    Parameters
    ----------
    graph : geonet.graph.Graph
    title : str

    Returns
    -------
    str
        HTML, to be written as UTF-8.
    """
    groups, users = graph.groups(), {}
    numbers = {
        node.number: {"value": node.value, "gradient": node.gradient} for node in graph.nodes
    }
    for node in graph.nodes:
        for x in node.inputs:
            users.setdefault(x.node, []).append(node)
    targets = {name: f"group-{i}" for i, name in enumerate(groups, start=1)}
    places = {node.number: _id(node) for node in graph.nodes}
    shown = []
    for name, nodes in groups.items():
        links = _drawing(graph.drawing(nodes), places, f"Operations of {name}")
        items = "\n".join(
            _node(node, graph, numbers[node.number], users.get(node.number, ())) for node in nodes
        )
        words = f'{escape(name)} <span class="words">{_group_words(nodes)}</span>'
        shown.append(
            f'<details class="group" id="{targets[name]}"><summary>{words}</summary>'
            f'<div class="inside">{links}\n<ol>\n{items}\n</ol></div></details>'
        )
    return _PAGE.format(
        title=escape(title),
        style=_STYLE,
        summary=_summary(graph, len(groups), numbers),
        map=_drawing(graph.drawing(), targets, "Modules, each with its result"),
        groups="\n".join(shown),
        script=_SCRIPT,
    )


def _id(node):
    return f"node-{node.number}"


def _summary(graph, groups, numbers):
    made = [node for node in graph.nodes if node.inputs]
    result = graph.nodes[-1]
    value = (
        f", {result.data.item():.6g}" if result.data is not None and result.data.size == 1 else ""
    )
    words = (
        f"{len(made)} operations on {len(graph.nodes) - len(made)} parameters and inputs, in "
        f"{groups} groups. The result is number {result.number}, {result.title}{value}."
    )
    bad = [node for node in graph.nodes if _alarm(numbers[node.number])]
    links = ", ".join(f'<a href="#{_id(n)}">{n.number} {escape(n.title)}</a>' for n in bad)
    alarm = f'<p class="alarm">Not finite: {links}</p>' if bad else ""
    note = graph.missing()
    return f"<p>{escape(words)}</p>{alarm}" + (f"<p>{escape(note)}</p>" if note else "")


def _alarm(found):
    """A description of the entries of a node that are not finite."""
    return ", ".join(f"{name}: {not_finite(s)}" for name, s in found.items() if s and not_finite(s))


def _group_words(nodes):
    made = [node for node in nodes if node.inputs]
    count = f"{len(made)} operation{'' if len(made) == 1 else 's'}"
    last = (made or nodes)[-1]
    return f"{count}, result {escape(str(last.shape))}"


def _node(node, graph, found, users):
    """One node: its name and shape when closed, everything when open."""
    kind = "operation" if node.inputs else node.operation
    alarm = f' <span class="alarm">{_alarm(found)}</span>' if _alarm(found) else ""
    head = (
        f'{node.number} <strong>{escape(node.title)}</strong> <span class="words">'
        f"{'' if node.inputs else kind} {escape(str(node.shape))}</span>{alarm}"
    )
    equations = [("computes", escape(node.forward)), ("pullback", escape(node.backward))]
    others = [
        ("name", _code(node.name)),
        ("pulled back by", _code(node.pullback, node.source)),
        ("inputs", _inputs(node, graph)),
        ("used by", ", ".join(_link(user) for user in users)),
        ("called at", _code(node.line, node.line.text) if node.line else ""),
        ("through", _code(node.caller, node.caller.text) if node.caller else ""),
        ("module", _code(node.module)),
        ("dtype", _code(node.dtype)),
    ]
    return (
        f'<li><details class="node {kind}" id="{_id(node)}"><summary>{head}</summary>'
        f'<div class="inside">{_terms(equations)}{_numbers(found)}{_terms(others)}</div>'
        f"</details></li>"
    )


def _terms(pairs):
    """A list of terms with their descriptions; empty ones are left out."""
    listed = "".join(f"<dt>{name}</dt><dd>{words}</dd>" for name, words in pairs if words)
    return f"<dl>{listed}</dl>" if listed else ""


def _link(node):
    return f'<a href="#{_id(node)}">{node.number} {escape(node.title)}</a>'


def _code(*parts):
    return " ".join(f"<code>{escape(str(part))}</code>" for part in parts if part)


def _inputs(node, graph):
    return "<br>".join(
        f"{escape(x.argument)}: {_link(graph.nodes[x.node - 1]) if x.node else escape(x.words)}"
        for x in node.inputs
    )


def _numbers(found):
    """The table of statistics, with one row per number."""
    columns = {name: s for name, s in found.items() if s}
    if not columns:
        return ""
    names = {"min": "smallest", "max": "largest", "mean": "mean", "norm": "norm",
             "zeros": "zeros", "nans": "NaN", "infinities": "infinite"}  # fmt: skip
    head = "".join(f'<th scope="col">{name}</th>' for name in columns)
    rows = []
    for field, words in names.items():
        values = (getattr(s, field) for s in columns.values())
        style = "{:.1%}" if field == "zeros" else "{:.4g}"
        cells = "".join(f"<td>{style.format(value)}</td>" for value in values)
        rows.append(f'<tr><th scope="row">{words}</th>{cells}</tr>')
    return f"<table><thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _drawing(drawing, targets, label):
    """A drawing of `layout` as SVG, where each box links to targets[its key]."""
    width, height = drawing.width * LETTER + 4, drawing.height * LINE + 4
    edges = "".join(
        f'<path d="{_path(route)}" marker-end="url(#arrow)"/>' for route in drawing.routes
    )
    boxes = "".join(_box(box, targets[box.key]) for box in drawing.boxes)
    return (
        f'<div class="drawing"><svg role="group" aria-label="{escape(label)}" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="-2 -2 {width:.0f} {height:.0f}">'
        f"{edges}{boxes}</svg></div>"
    )


def _path(route):
    """A smooth curve down from point to point."""
    points = [(x * LETTER, y * LINE) for x, y in route]
    words = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (a, b), (c, d) in pairwise(points):
        middle = (b + d) / 2
        words.append(f"C{a:.1f} {middle:.1f} {c:.1f} {middle:.1f} {c:.1f} {d:.1f}")
    return "".join(words)


def _box(box, target):
    x, y = (box.x - box.width / 2) * LETTER, (box.y - box.height / 2) * LINE
    size = f'width="{box.width * LETTER:.1f}" height="{box.height * LINE:.1f}" rx="5"'
    middle = box.x * LETTER
    lines = "".join(
        f'<tspan x="{middle:.1f}" y="{y + (k + 1.1) * LINE:.1f}">{escape(line)}</tspan>'
        for k, line in enumerate(box.lines)
    )
    return (
        f'<a class="{box.kind}" href="#{target}" aria-label="{escape(", ".join(box.lines))}">'
        f'<rect x="{x:.1f}" y="{y:.1f}" {size}/><text>{lines}</text></a>'
    )
