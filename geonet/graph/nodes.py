"""The recorded computation as a list of nodes, and as a table."""

import inspect
import textwrap
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from geonet.files import write_whole
from geonet.graph.layout import drawing
from geonet.graph.page import page
from geonet.graph.recording import Line, note_of
from geonet.graph.summary import not_finite, statistics
from geonet.nn.module import Parameter, Sequential
from geonet.tensor import Tensor
from geonet.text import aligned, argument_names, check_type

OUTSIDE = "outside of modules"
WIDEST = 36  # letters per line in a box of the drawing


def equations(operation):
    """What an operation computes, and how it pulls back g = ∂L/∂y, according to its docstring.

    Parameters
    ----------
    operation : function
        One of `geonet.ops.OPERATIONS`, or a user's operation.

    Returns
    -------
    forward, pullback : str
        Empty if the docstring does not say it.
    """
    before, arrow, after = (inspect.getdoc(operation) or "").partition("g → ")
    before, after = (" ".join(text.split()) for text in (before, after.split("\n\n")[0]))
    if not arrow:
        return before.partition(" Parameters ---")[0], ""
    condition = ""
    if before.endswith((":", ",")):  # "With u = v/‖v‖:" belongs to the pullback
        before, _, condition = before.rpartition(". ")
        before, condition = before + ".", condition + " "
    return before, f"{condition}g → {after}"


class Input(NamedTuple):
    """One input of an operation."""

    argument: str
    node: int | None  # the number of its node
    words: str  # a description, if it is not a node


@dataclass(eq=False)
class Node:
    """One operation of a graph, or a Tensor that the graph starts from.

    For such a Tensor `operation` is "parameter" or "input". `module` is the dotted name of the
    innermost module in which the operation was called, and `group` names the module with which it
    is shown.
    """

    number: int  # its position in the list of nodes, from 1
    operation: str
    group: str
    shape: tuple
    dtype: object
    kept: object = field(repr=False)  # holds the arrays: a Tensor or a Note
    name: str = ""  # of a parameter or an input
    module: str = ""
    inputs: list = field(default_factory=list)
    forward: str = ""  # equation
    backward: str = ""  # equation, with g the gradient of the result
    pullback: str = ""  # names of the functions that pull back
    source: Line | None = None  # where the operation is defined
    line: Line | None = None  # of the user's program that called it
    caller: Line | None = None  # in geonet, through which that line called it

    data = property(attrgetter("kept.data"), doc="The value, not a copy; None if not kept.")
    grad = property(attrgetter("kept.grad"), doc="∂L/∂value; None before backward().")
    value = property(lambda self: _statistics(self.data), doc="`Statistics` of `data`, if any.")
    gradient = property(lambda self: _statistics(self.grad), doc="`Statistics` of `grad`, if any.")

    @property
    def kind(self):
        """In a drawing: "operation", "parameter" or "input"."""
        return "operation" if self.inputs else self.operation

    @property
    def title(self):
        """The operation, or the name of a parameter (in its module) or an input, on one line."""
        name = self.name.removeprefix(f"{self.module}.") if self.module else self.name
        return " ".join(name.split()) or self.operation


def _statistics(array):
    return None if array is None or not array.size else statistics(array)


def trace(result):
    """Read out the computation that made a Tensor.

    Parameters
    ----------
    result : Tensor
        Usually a loss.

    Returns
    -------
    Graph
        For operations recorded inside `watch`, with values, lines and modules, and gradients if
        `watch` was told to keep them; also after backward(). For others, only what the engine
        itself keeps: operations, shapes and dtypes.

    Raises
    ------
    TypeError
        If `result` is not a Tensor.
    ValueError
        If nothing was recorded for this Tensor.
    RuntimeError
        If backward() has freed the graph and nothing was kept.

    Examples
    --------
    >>> x = geonet.Tensor([1.0, 2.0], requires_grad=True, name="x")
    >>> [node.title for node in trace((x * x).sum()).nodes]
    ['x', 'multiply', 'sum']
    """
    check_type("result", result, Tensor, "a Tensor (a loss)")
    if not result.requires_grad:
        raise ValueError("trace: no input of this Tensor was made with requires_grad=True")
    notes = _notes(result)
    names = _Names(notes.values())
    nodes, numbers = [], {}  # id of a Record or Tensor -> number of its node

    def add(thing, **about):
        numbers[id(thing)] = len(nodes) + 1
        nodes.append(Node(len(nodes) + 1, shape=thing.shape, dtype=thing.dtype, **about))

    for record, note in notes.items():
        code = getattr(inspect.unwrap(record.operation), "__code__", None)
        group, module = names.of(note.place.modules)
        for x in note.inputs:
            if isinstance(x, Tensor) and id(x) not in numbers:
                add(x, **names.leaf(x, group))
        arguments = argument_names(record.operation, len(note.inputs))
        inputs = zip(arguments, note.inputs, note.others)
        forward, backward = equations(record.operation)
        add(
            record,
            operation=record.operation.__name__,
            group=group,
            kept=note,
            module=module,
            inputs=[Input(name, numbers.get(id(x)), words) for name, x, words in inputs],
            forward=forward,
            backward=backward,
            pullback=note.pullback,
            source=Line(code.co_filename, code.co_firstlineno) if code else None,
            line=note.place.line,
            caller=note.place.caller,
        )
    if not notes:
        add(result, **names.leaf(result, OUTSIDE))
    return Graph(nodes)


def _notes(result):
    """All records behind a Tensor, in the order in which they were made, with their notes."""
    notes, todo = {}, [result._record]
    while todo:
        record = todo.pop()
        if record is not None and not isinstance(record, Tensor) and record not in notes:
            notes[record] = note_of(record)
            todo += notes[record].inputs
    return dict(sorted(notes.items(), key=lambda item: item[0].number))


class _Names:
    """Names of modules and parameters, within the outermost modules that were called."""

    def __init__(self, notes):
        self.paths = {}  # an outermost module -> one inside -> its name
        self.parameters = {}  # id -> name
        roots = dict.fromkeys(note.place.modules[0] for note in notes if note.place.modules)
        for number, root in enumerate(roots, start=1):
            before = f"model {number}: " if number > 1 else ""
            named = reversed(list(root.named_modules()))  # the first name of a module with two
            self.paths[root] = {module: before + path for path, module in named}
            for path, parameter in root.named_parameters():
                self.parameters.setdefault(id(parameter), before + path)

    def of(self, modules):
        """The group and the name of the innermost of the modules that were running."""
        if not modules:
            return OUTSIDE, ""
        root, *others = modules
        paths = self.paths[root]
        shown = next((m for m in others if not isinstance(m, Sequential)), modules[-1])
        kind, path = type(shown).__name__, paths.get(shown, "")
        return (f"{path} ({kind})" if path else kind), paths.get(modules[-1], "")

    def leaf(self, tensor, group):
        """A Tensor that no operation made, shown with the operation that first uses it."""
        path = self.parameters.get(id(tensor), "")
        return {
            "operation": "parameter" if isinstance(tensor, Parameter) else "input",
            "group": group,
            "kept": tensor,
            "name": path or ("" if tensor.name is None else str(tensor.name)),
            "module": path.rpartition(".")[0],
        }


class Graph:
    """A computation: its `nodes`, each one after those that it depends on."""

    def __init__(self, nodes):
        self.nodes = nodes

    def groups(self):
        """Nodes by the module with which they are shown: dict of str to list of Node."""
        found = {}
        for node in self.nodes:
            found.setdefault(node.group, []).append(node)
        return found

    def missing(self):
        """A sentence about what was not kept and how to keep it, or an empty string."""
        made = [node for node in self.nodes if node.inputs]
        if any(node.data is None for node in made):
            return "Values, lines and modules were not kept: record inside geonet.graph.watch()."
        if any(node.grad is None for node in made):
            return "Gradients were not kept: record inside watch(gradients=True), then backward()."
        return ""

    def table(self):
        """All nodes as text, by module."""
        rows = [("module", "#", "operation", "shape", "min", "max", "norm", "zeros",
                 "gradient norm", "from", "line")]  # fmt: skip
        for group, nodes in self.groups().items():
            for k, node in enumerate(nodes):
                numbers = ", ".join(str(x.node) for x in node.inputs if x.node)
                words = str(node.number), node.title, str(node.shape), *_extent(node.value)
                gradient = _extent(node.gradient)[2] if node.gradient else ""
                line = str(node.line or "")
                rows.append(("" if k else group, *words, gradient, numbers, line))
        return "\n".join(filter(None, (aligned(rows), self.missing())))

    def html(self, path, title="A recorded computation"):
        """Write the graph as one self-contained page, completely or not at all.

        Parameters
        ----------
        path : path
            For example "graph.html". Its folder is created.
        title : str
        """
        path, text = Path(path), page(self, title)
        write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))

    def drawing(self, nodes=None):
        """Place the nodes or groups for a drawing.

        Parameters
        ----------
        nodes : list of Node, optional
            Draw only these, with the edges between them. By default all groups are drawn, each as
            one box.

        Returns
        -------
        geonet.graph.layout.Drawing

        Raises
        ------
        ValueError
            If the list is empty.
        """
        if nodes is not None and not nodes:
            raise ValueError("nodes must hold at least one Node, but is empty")
        groups = self.groups()
        if nodes is None:
            boxes = [(_group_lines(g, members), "group", g) for g, members in groups.items()]
            place = {n.number: i for i, g in enumerate(groups.values()) for n in g}
            nodes = self.nodes
        else:
            boxes = [(_node_lines(n), n.kind, n.number) for n in nodes]
            place = {n.number: i for i, n in enumerate(nodes)}
        edges = dict.fromkeys(
            (place[x.node], place[n.number]) for n in nodes for x in n.inputs if x.node in place
        )
        return drawing(boxes, [(i, j) for i, j in edges if i != j])


def _extent(found):
    """Smallest, largest, norm (with what is not finite) and fraction of zeros, as text."""
    if found is None:
        return "", "", "", ""
    norm = " ".join(filter(None, (f"{found.norm:.3g}", not_finite(found))))
    return f"{found.min:.3g}", f"{found.max:.3g}", norm, f"{found.zeros:.0%}"


def _node_lines(node):
    lines = [f"{node.number} {node.title}", " ".join(map(str, (node.shape, node.dtype)))]
    return (*lines, f"gradient norm {_extent(node.gradient)[2]}") if node.gradient else tuple(lines)


def _group_lines(title, nodes):
    """The name of a group, its operations, and the result of the last one."""
    made = [node for node in nodes if node.inputs] or nodes
    words = textwrap.wrap(", ".join(node.title for node in made), WIDEST)
    if len(words) > 2:
        words = [f"{len(made)} operations, the last", made[-1].title]
    return title, *words, *_node_lines(made[-1])[1:]
