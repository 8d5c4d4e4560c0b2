"""A look into one training step: what `python -m geonet graph` does."""

import os
from pathlib import Path

import numpy as np

from geonet import METHODS, graph, ops, plots
from geonet.data.image_arrays import ImageSet
from geonet.experiments.harness.results import check_folder
from geonet.experiments.sets.banana import generate_banana
from geonet.experiments.sets.drawn_pictures import draw_pictures
from geonet.models import mlp, vgg6


def small_network(method):
    """A network of two hidden layers, its loss, and a batch of the Banana set."""
    rng = np.random.default_rng(0)
    x, y = generate_banana(50, rng)
    return mlp([2, 16, 16, 1], method, rng=rng), ops.binary_cross_entropy, x, y[:, None]


def convnet(method):
    """A VGG-6 with a quarter of the channels, its loss, and a batch of pictures."""
    rng = np.random.default_rng(0)
    pictures = draw_pictures(16, rng)
    x, labels = next(ImageSet([lambda: pictures], pictures).train_batches(16, rng))
    return vgg6(method, num_classes=10, width=0.25, rng=rng), ops.cross_entropy, x, labels


HEADING = "One training step"  # on the page, by which it is known
MODELS = {"mlp": small_network, "vgg6": convnet}


SUMMARY = "look into one training step: table, figure, and a page to click through"


def add_arguments(parser):
    """Declare the options."""
    parser.add_argument("--model", choices=list(MODELS), default="mlp", help="default: mlp")
    methods = {"choices": list(METHODS), "default": "GmP+IMN"}
    parser.add_argument("--method", help="default: GmP+IMN", **methods)
    folder = {"default": os.path.join("results", "graph"), "metavar": "DIR"}
    parser.add_argument("--out", help="folder (default: results/graph)", **folder)


def main(arguments):
    """Print the table of one step's graph and write graph.html, graph.png and graph.svg."""
    kind, method, folder = arguments.model, arguments.method, arguments.out
    check_folder(folder)
    page = Path(folder, "graph.html")
    if page.exists() and HEADING.encode() not in page.read_bytes():
        raise FileExistsError(f"{page} is not of geonet: choose another --out")
    model, loss, x, y = MODELS[kind](method)
    with graph.watch(gradients=True):
        value = loss(model(x), y)
        value.backward()
    found = graph.trace(value)
    title = f"{HEADING} of {kind} under {method}"
    caption = f"{title}, on a batch of {len(x)}: shapes, and norms of gradients."
    if kind == "mlp":
        drawing, caption = found.drawing(found.nodes), f"{caption} Parameters are green."
    else:
        drawing = found.drawing()  # modules only
    made = [node for node in found.nodes if node.inputs]
    description = f"{caption} In order: {', '.join(node.title for node in made)}."
    png, _ = plots.save(plots.computation(drawing, caption), folder, "graph", title, description)
    found.html(page, title)
    print(f"{title}, on a batch of {len(x)}\n\n{found.table()}")
    print(f"\npage, with values, gradients and equations: {page}\nfigure: {png}")
