"""Training steps of a ResNet-18 on small and on full images, and the speed of decoding files."""

import sys
import tempfile
from pathlib import Path

import numpy as np

from geonet import threads
from geonet.bench import memory
from geonet.bench.timing import columns, fastest, in_turns, ratio, training_step
from geonet.data.decoding import GAP, decode
from geonet.experiments.sets.drawn_pictures import write_pictures
from geonet.models import STAGES, resnet18

SHAPES = ((64, 64), (16, 224))  # images, and pixels per side
METHODS = {"BN": "BN", "GmP+IMN": None}  # our method -> its name in PyTorch
LAYOUTS = "channels_last", "contiguous_format"  # PyTorch's names for them
CLASSES = 1000
FILES, STORED, CROP = 50, 500, 224  # JPEGs to decode; pixels per side of a file and of a result


def rows(peer, turns):
    """All rows of this part; `peer` is the process with PyTorch, or None."""
    found = []
    for shape in SHAPES:
        ours = {method: step(method, *shape) for method in METHODS}
        theirs = {}
        if peer is not None:
            names = [f"PyTorch BN, {layout}" for layout in LAYOUTS]
            theirs = {name: peer.function(torch_step, name, *shape) for name in names}
        seconds = in_turns(ours, theirs, turns, repeats=1)
        for method, same in METHODS.items():
            row = f"ResNet-18 step, {method}, {shape[0]} images of {shape[1]}²"
            times = f"{np.median(seconds[method] / seconds['BN']):.3f} times BN's"
            both = columns(seconds[method], fastest(seconds, f"PyTorch {same}, "))
            found.append((row, *both, times))
        found += memory.rows(peer, sys.modules[__name__], METHODS, shape)
    return [*found, *decoding_rows(turns)]


def decoding_rows(turns):
    """Rows for pictures decoded on one core, compared with Pillow alone."""
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        write_pictures(Path(folder, "set"), rng, training=FILES, validation=0, side=STORED)
        files = sorted(Path(folder, "set").rglob("*.JPEG"))
        functions = {
            "ours": lambda: [decode(path, CROP) for path in files],
            "Pillow": lambda: [pillow_decode(path) for path in files],
        }
        seconds = in_turns(functions, {}, turns, repeats=1)
    rate, alone = (FILES / np.median(seconds[name]) for name in functions)
    share = f"{ratio(seconds['Pillow'], seconds['ours'])} of Pillow alone, {alone:.0f}/s"
    return [(f"JPEGs of {STORED}² decoded to {CROP}², one core", f"{rate:.0f}/s", "", "", share)]


def pillow_decode(path):
    """The middle of a picture with Pillow alone: draft, decode, crop and resize."""
    from PIL import Image

    with Image.open(path) as image:
        edge = STORED * 16 / 256  # 16 of 256 pixels are cropped on every side
        box = edge, edge, STORED - edge, STORED - edge
        image.draft("RGB", (int(GAP * CROP), int(GAP * CROP)))
        scale = STORED / image.size[0]
        box = tuple(place / scale for place in box)
        size = CROP, CROP
        return np.asarray(
            image.convert("RGB").resize(size, Image.Resampling.BILINEAR, box, reducing_gap=GAP)
        )


def step(name, images, side):
    """The step of a ResNet-18 on images of this side, under a method or "PyTorch BN, LAYOUT"."""
    if name in METHODS:
        return resnet_step(name, *pictures(images, side))
    import torch

    torch.set_num_threads(threads.count())
    return torch_step(torch, name, images, side)


def torch_step(torch, name, images, side):
    """PyTorch's step for a name as in `step`."""
    return torch_resnet_step(torch, name.split(", ")[1], *pictures(images, side))


def pictures(images, side):
    """A batch of pictures and their labels."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(images, side, side, 3)).astype(np.float32)
    return x, rng.integers(0, CLASSES, images)


def resnet_step(method, x, labels):
    """One training step of our ResNet-18: forward, backward, SGD."""
    model = resnet18(method, num_classes=CLASSES, rng=np.random.default_rng(0))
    return training_step(model, x, labels)


def torch_resnet_step(torch, layout, x, labels):
    """The same step in eager PyTorch, under BN."""
    memory_format = getattr(torch, layout)
    x = torch.tensor(x).permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
    labels = torch.tensor(labels)
    model = torch_resnet18(torch).to(memory_format=memory_format)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()

    return step


def torch_resnet18(torch, classes=CLASSES):
    """ResNet-18 in PyTorch, as in torchvision."""
    nn = torch.nn

    def unit(inputs, outputs, size, stride):
        convolution = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01))

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.first, self.second = unit(inputs, outputs, 3, stride), unit(outputs, outputs, 3, 1)
            changed = stride > 1 or inputs != outputs
            self.shortcut = unit(inputs, outputs, 1, stride) if changed else nn.Identity()
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            return self.relu(self.second(self.relu(self.first(x))) + self.shortcut(x))

    steps, channels = (
        [unit(3, STAGES[0], 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)],
        STAGES[0],
    )
    for stage, outputs in enumerate(STAGES):
        for block in range(2):
            steps.append(Block(channels, outputs, 2 if stage and not block else 1))
            channels = outputs
    output = nn.Linear(channels, classes)
    return nn.Sequential(*steps, nn.AdaptiveAvgPool2d(1), nn.Flatten(), output)
