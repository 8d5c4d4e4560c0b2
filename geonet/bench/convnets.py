"""Single convolutions, and training steps of a VGG-6."""

import sys
from itertools import pairwise

import numpy as np

from geonet.bench import classifiers, pytorch
from geonet.bench.timing import columns, in_turns
from geonet.kernels import convolution
from geonet.models import vgg6

SHAPES = (  # N, H, W, C, O of convolutions 3×3 with padding 1
    (64, 32, 32, 64, 64),
    (64, 32, 32, 128, 128),
    (64, 16, 16, 256, 256),
    (64, 8, 8, 512, 512),
    (8, 56, 56, 64, 64),
)
BATCH, SIDE = 64, 32
WIDTHS = (128, 128, 256, 256, 512, 512)
METHODS, IN_PYTORCH = ("SP", "GmP", "GmP+IMN"), ("SP", "GmP+IMN")


def rows(peer, turns):
    """All rows of this part; `peer` is the process with PyTorch, or None."""
    name = f"VGG-6 step, {{}}, batch {BATCH}"
    steps = classifiers.rows(peer, turns, name, sys.modules[__name__], BATCH, SIDE)
    return [*(_convolution_row(peer, turns, shape) for shape in SHAPES), *steps]


def _convolution_row(peer, turns, shape):
    """Forward and both pullbacks of one convolution; PyTorch in its faster memory format."""
    x, weight, g = convolution_arrays(shape)

    def ours():
        convolution.conv2d(x, weight, None, (1, 1), (1, 1))
        convolution.conv2d_pullback(g, x, weight, (1, 1), (1, 1), (True, True, False))

    cases = {layout: (layout, shape) for layout in pytorch.LAYOUTS}
    theirs = pytorch.functions(peer, torch_convolution, cases)
    seconds = in_turns({"ours": ours}, theirs, turns, repeats=5)
    mine = seconds.pop("ours")
    operations = 3 * 2 * x.size * 9 * shape[-1]  # of the plain sum; faster algorithms need fewer
    rate = f"{operations / np.median(mine) / 1e9:.0f} effective GFLOP/s"
    name = f"convolution 3×3, {shape[:-1]} → {shape[-1]}"
    return name, *columns(mine, seconds.values()), rate


def convolution_arrays(shape):
    """Input, weight and output gradient of a convolution 3×3 of shape (N, H, W, C, O)."""
    images, height, width, channels, units = shape
    rng = np.random.default_rng(0)
    x = rng.normal(size=(images, height, width, channels)).astype(np.float32)
    weight = rng.normal(size=(units, 3, 3, channels)).astype(np.float32)
    return x, weight, rng.normal(size=(images, height, width, units)).astype(np.float32)


def torch_convolution(torch, layout, shape):
    """The same work in PyTorch."""
    x, weight, g = (
        pytorch.channels_first(torch, torch.tensor(a), layout) for a in convolution_arrays(shape)
    )
    x.requires_grad_()
    weight.requires_grad_()

    def forward_and_back():
        x.grad = weight.grad = None
        torch.nn.functional.conv2d(x, weight, padding=1).backward(g)

    return forward_and_back


def network(method):
    """The VGG-6 that geonet and PyTorch both start from."""
    sizes = {"widths": WIDTHS, "num_classes": classifiers.CLASSES}
    return vgg6(method, **sizes, rng=np.random.default_rng(0))


def step(method, images, side):
    """One training step of our VGG-6."""
    return classifiers.training_step(network(method), images, side)


def torch_step(torch, method, layout, images, side):
    """The same step in eager PyTorch: SP, or GmP+IMN with u(θ) by roll and cumprod."""
    nn = torch.nn

    class Geometric(nn.Module):
        """r ReLU(u(θ) * x + λ) minus its mean over the batch."""

        def __init__(self, inputs, outputs):
            super().__init__()
            self.theta = nn.Parameter(torch.empty(outputs, 9 * inputs - 1))
            self.lambda_ = nn.Parameter(torch.empty(outputs))
            self.radius = nn.Parameter(torch.empty(outputs))
            self.one = torch.ones(outputs, 1)

        def forward(self, x):
            u = pytorch.directions(torch, self.theta, self.one).unflatten(1, (3, 3, -1))
            u = pytorch.channels_first(torch, u, layout)
            y = torch.relu(nn.functional.conv2d(x, u, self.lambda_, padding=1))
            y = y * self.radius[:, None, None]
            return y - y.mean(dim=(0, 2, 3), keepdim=True)

    steps = []
    for number, (inputs, outputs) in enumerate(pairwise((3, *WIDTHS)), start=1):
        if method == "SP":
            steps += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
        else:
            steps.append(Geometric(inputs, outputs))
        if number % 2 == 0:
            steps.append(nn.MaxPool2d(2))
    output = nn.Linear(WIDTHS[-1], classifiers.CLASSES)
    model = nn.Sequential(*steps, nn.AdaptiveAvgPool2d(1), nn.Flatten(), output)
    ours = network(method)
    return classifiers.torch_training_step(torch, model, ours, layout, images, side)
