"""A graph as one page that needs no other file and no network, and can be read without scripts.

`page.html` is its frame, `page.css` its style, and `page.js` opens what a link leads to.
"""

from html import escape
from itertools import pairwise
from pathlib import Path

from geonet.graph.summary import not_finite

LETTER, LINE = 7.25, 16  # width of a letter and height of a line in drawings, in pixels


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
    groups, users, numbers = graph.groups(), {}, {}
    for node in graph.nodes:
        numbers[node.number] = {"value": node.value, "gradient": node.gradient}
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
    frame, style, script = (
        Path(__file__).with_name(name).read_text(encoding="utf-8")
        for name in ("page.html", "page.css", "page.js")
    )
    return frame.format(
        title=escape(title),
        style=style,
        summary=_summary(graph, len(groups), numbers),
        map=_drawing(graph.drawing(), targets, "Modules, each with its result"),
        groups="\n".join(shown),
        script=script,
    )


def _id(node):
    return f"node-{node.number}"


def _summary(graph, groups, numbers):
    made = [node for node in graph.nodes if node.inputs]
    result = graph.nodes[-1]
    single = result.data is not None and result.data.size == 1
    value = f", {result.data.item():.6g}" if single else ""
    words = (
        f"{len(made)} operations on {len(graph.nodes) - len(made)} parameters and inputs, in "
        f"{groups} groups. The result is number {result.number}, {result.title}{value}."
    )
    bad = [node for node in graph.nodes if _alarm(numbers[node.number])]
    alarm = f'<p class="alarm">Not finite: {", ".join(map(_link, bad))}</p>' if bad else ""
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
    alarm = f' <span class="alarm">{_alarm(found)}</span>' if _alarm(found) else ""
    head = (
        f'{node.number} <strong>{escape(node.title)}</strong> <span class="words">'
        f"{'' if node.inputs else node.kind} {escape(str(node.shape))}</span>{alarm}"
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
        f'<li><details class="node {node.kind}" id="{_id(node)}"><summary>{head}</summary>'
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
    names = "smallest", "largest", "mean", "norm", "zeros", "NaN", "infinite"  # of Statistics
    head = "".join(f'<th scope="col">{name}</th>' for name in columns)
    rows = []
    for words, *values in zip(names, *columns.values()):
        style = "{:.1%}" if words == "zeros" else "{:.4g}"
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
