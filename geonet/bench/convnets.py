"""Single convolutions, and training steps of a VGG-6."""

import sys

import numpy as np

from geonet import threads
from geonet.bench import memory
from geonet.bench.timing import columns, fastest, in_turns, training_step
from geonet.kernels import convolution
from geonet.models import vgg6

SHAPES = (  # N, H, W, C, O of convolutions 3×3 with padding 1
    (64, 32, 32, 64, 64),
    (64, 32, 32, 128, 128),
    (64, 16, 16, 256, 256),
    (64, 8, 8, 512, 512),
    (8, 56, 56, 64, 64),
)
BATCH, SIZE, CLASSES = 64, 32, 1000
WIDTHS = (128, 128, 256, 256, 512, 512)
LAYOUTS = "channels_last", "contiguous_format"  # PyTorch's names for them
STEPS = {"SP": "SP", "GmP": None, "GmP+IMN": "GmP+IMN"}  # our method -> its name in PyTorch


def rows(peer, turns):
    """All rows of this part; `peer` is the process with PyTorch, or None."""
    found = [_convolution_row(peer, turns, shape) for shape in SHAPES]
    ours = {method: step(method, BATCH) for method in STEPS}
    theirs = {}
    if peer is not None:
        for method in filter(None, STEPS.values()):
            for layout in LAYOUTS:
                name = f"PyTorch {method}, {layout}"
                theirs[name] = peer.function(torch_step, name, BATCH)
    seconds = in_turns(ours, theirs, turns, repeats=1)
    for method, name in STEPS.items():
        both = columns(seconds[method], fastest(seconds, f"PyTorch {name}, "))
        times = f"{np.median(seconds[method] / seconds['SP']):.3f} times SP's"
        found.append((f"VGG-6 step, {method}, batch {BATCH}", *both, times))
    return found + memory.rows(peer, sys.modules[__name__], STEPS, (BATCH,))


def _convolution_row(peer, turns, shape):
    """Forward and both pullbacks of one convolution; PyTorch in its faster memory format."""
    x, weight, g = convolution_arrays(shape)

    def ours():
        convolution.conv2d(x, weight, None, (1, 1), (1, 1))
        convolution.conv2d_pullback(g, x, weight, (1, 1), (1, 1), (True, True, False))

    theirs = {}
    if peer is not None:
        for layout in LAYOUTS:
            theirs[f"PyTorch, {layout}"] = peer.function(torch_convolution, layout, shape)
    seconds = in_turns({"ours": ours}, theirs, turns, repeats=5)
    operations = 3 * 2 * x.size * 9 * shape[-1]  # of the plain sum; faster algorithms need fewer
    rate = operations / np.median(seconds["ours"]) / 1e9
    name = f"convolution 3×3, {shape[:-1]} → {shape[-1]}"
    both = columns(seconds["ours"], fastest(seconds, "PyTorch"))
    return name, *both, f"{rate:.0f} effective GFLOP/s"


def convolution_arrays(shape):
    """Input, weight and output gradient of a convolution 3×3 of shape (N, H, W, C, O)."""
    images, height, width, channels, units = shape
    rng = np.random.default_rng(0)
    x = rng.normal(size=(images, height, width, channels)).astype(np.float32)
    weight = rng.normal(size=(units, 3, 3, channels)).astype(np.float32)
    return x, weight, rng.normal(size=(images, height, width, units)).astype(np.float32)


def torch_convolution(torch, layout, shape):
    """The same work in PyTorch."""
    memory_format = getattr(torch, layout)
    x, weight, g = (
        torch.tensor(a).permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
        for a in convolution_arrays(shape)
    )
    x.requires_grad_()
    weight.requires_grad_()

    def forward_and_back():
        x.grad = weight.grad = None
        torch.nn.functional.conv2d(x, weight, padding=1).backward(g)

    return forward_and_back


def pictures(batch):
    """A batch of pictures and their labels."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, SIZE, SIZE, 3)).astype(np.float32)
    return x, rng.integers(0, CLASSES, batch)


def step(name, images):
    """The step of a VGG-6 on this many images, under a method or "PyTorch METHOD, LAYOUT"."""
    if name in STEPS:
        return vgg_step(name, *pictures(images))
    import torch

    torch.set_num_threads(threads.count())
    return torch_step(torch, name, images)


def torch_step(torch, name, images):
    """PyTorch's step for a name as in `step`."""
    method, layout = name.removeprefix("PyTorch ").split(", ")
    return torch_vgg_step(torch, method, layout, *pictures(images))


def vgg_step(method, x, labels):
    """One training step of our VGG-6."""
    model = vgg6(method, widths=WIDTHS, num_classes=CLASSES, rng=np.random.default_rng(0))
    return training_step(model, x, labels)


def torch_vgg_step(torch, method, layout, x, labels):
    """The same step in eager PyTorch: SP, or GmP+IMN with u(θ) by roll and cumprod."""
    memory_format = getattr(torch, layout)
    x = torch.tensor(x).permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
    labels = torch.tensor(labels)
    layer = {"SP": _standard_layer, "GmP+IMN": _geometric_layer}[method]
    generator = torch.Generator().manual_seed(0)
    layers = [
        layer(torch, fan_in, fan_out, memory_format, generator)
        for fan_in, fan_out in zip((3, *WIDTHS), WIDTHS)
    ]
    output = torch.nn.Linear(WIDTHS[-1], CLASSES)
    parameters = [p for _, found in layers for p in found] + list(output.parameters())
    optimizer = torch.optim.SGD(parameters, lr=1e-3, momentum=0.9)

    def step():
        optimizer.zero_grad()
        y = x
        for i, (apply, _) in enumerate(layers):
            y = apply(y)
            if i % 2:
                y = torch.nn.functional.max_pool2d(y, 2)
        logits = output(y.mean(dim=(2, 3)))
        torch.nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()

    return step


def _standard_layer(torch, fan_in, fan_out, memory_format, generator):
    """Convolution and ReLU: the function, and its parameters."""
    weight = torch.randn(fan_out, fan_in, 3, 3, generator=generator) * (2 / (9 * fan_in)) ** 0.5
    weight = weight.contiguous(memory_format=memory_format).requires_grad_()
    bias = torch.zeros(fan_out, requires_grad=True)

    def apply(x):
        return torch.relu(torch.nn.functional.conv2d(x, weight, bias, padding=1))

    return apply, [weight, bias]


def _geometric_layer(torch, fan_in, fan_out, memory_format, generator):
    """r ReLU(u(θ) * x + λ) minus its mean over the batch: the function, and its parameters."""
    theta = torch.rand(fan_out, 9 * fan_in - 1, generator=generator) * np.pi
    theta.requires_grad_()
    lambda_ = torch.zeros(fan_out, requires_grad=True)
    radius = torch.ones(fan_out, requires_grad=True)
    one = torch.ones(fan_out, 1)

    def apply(x):
        cosines = torch.roll(torch.cat([one, torch.cos(theta)], dim=1), -1, dims=1)
        sines = torch.cumprod(torch.cat([one, torch.sin(theta)], dim=1), dim=1)
        rows = (sines * cosines).reshape(fan_out, 3, 3, fan_in).permute(0, 3, 1, 2)
        rows = rows.contiguous(memory_format=memory_format)
        z = torch.nn.functional.conv2d(x, rows, lambda_, padding=1)
        y = torch.relu(z) * radius[:, None, None]
        return y - y.mean(dim=(0, 2, 3), keepdim=True)

    return apply, [theta, lambda_, radius]
