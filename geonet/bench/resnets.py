"""Training steps of a ResNet-18 on small and on full images, and the speed of decoding files."""

import sys
import tempfile
from pathlib import Path

import numpy as np

from geonet.bench import classifiers
from geonet.bench.timing import in_turns, ratio
from geonet.data.decoding import GAP, decode
from geonet.experiments.sets.drawn_pictures import write_pictures
from geonet.models import STAGES, resnet18

SHAPES = ((64, 64), (16, 224))  # images, and pixels per side
METHODS, IN_PYTORCH = ("BN", "GmP+IMN"), ("BN",)
FILES, STORED, CROP = 50, 500, 224  # JPEGs to decode; pixels per side of a file and of a result


def rows(peer, turns):
    """All rows of this part; `peer` is the process with PyTorch, or None."""
    found = []
    for images, side in SHAPES:
        name = f"ResNet-18 step, {{}}, {images} images of {side}²"
        found += classifiers.rows(peer, turns, name, sys.modules[__name__], images, side)
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
    share = f"{ratio(seconds['Pillow'], seconds['ours']):.2f} of Pillow alone, {alone:.0f}/s"
    return [(f"JPEGs of {STORED}² decoded to {CROP}², one core", f"{rate:.0f}/s", "", "", share)]


def pillow_decode(path):
    """The middle of a picture with Pillow alone: draft, decode, crop and resize."""
    from PIL import Image

    with Image.open(path) as image:
        image.draft("RGB", (int(GAP * CROP), int(GAP * CROP)))
        edge = image.width * 16 / 256  # 16 of 256 pixels are cropped on every side
        box = edge, edge, image.width - edge, image.height - edge
        bilinear, size = Image.Resampling.BILINEAR, (CROP, CROP)
        return np.asarray(image.convert("RGB").resize(size, bilinear, box, reducing_gap=GAP))


def network(method):
    """The ResNet-18 that geonet and PyTorch both start from."""
    return resnet18(method, num_classes=classifiers.CLASSES, rng=np.random.default_rng(0))


def step(method, images, side):
    """One training step of our ResNet-18: forward, backward, SGD."""
    return classifiers.training_step(network(method), images, side)


def torch_step(torch, method, layout, images, side):
    """The same step in eager PyTorch under BN."""
    model, ours = torch_network(torch, classifiers.CLASSES), network(method)
    return classifiers.torch_training_step(torch, model, ours, layout, images, side)


def torch_network(torch, classes):
    """A ResNet-18 in PyTorch, as in torchvision."""
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

    channels = STAGES[0]
    steps = [unit(3, channels, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    for stage, outputs in enumerate(STAGES):
        for block in range(2):
            steps.append(Block(channels, outputs, 2 if stage and not block else 1))
            channels = outputs
    output = nn.Linear(channels, classes)
    return nn.Sequential(*steps, nn.AdaptiveAvgPool2d(1), nn.Flatten(), output)
