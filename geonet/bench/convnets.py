"""Single convolutions, and training steps of a VGG-6."""

import numpy as np

from geonet import ops
from geonet.bench.timing import in_turns, milliseconds, ratio
from geonet.kernels import convolution
from geonet.models import vgg6
from geonet.train import SGD

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
STEPS = {"SP": "SP", "GmP": None, "GmP+IMN": "GmP+IMN"}  # ours -> the same in PyTorch


def rows(torch, turns):
    """All rows of this part."""
    found = [_convolution_row(torch, turns, *shape) for shape in SHAPES]
    seconds = in_turns(step_functions(torch), turns, repeats=1)
    for method, theirs in STEPS.items():
        columns = _columns(seconds[method], _fastest(seconds, f"PyTorch {theirs}, "))
        times = f"{np.median(seconds[method] / seconds['SP']):.3f} times SP's"
        found.append((f"VGG-6 step, {method}, batch {BATCH}", *columns, times))
    return found


def _columns(ours, theirs):
    if theirs is None:
        return milliseconds(ours), "", ""
    return milliseconds(ours), milliseconds(theirs), ratio(theirs, ours)


def _fastest(seconds, prefix):
    """The seconds of the fastest of the functions whose names begin so, or None."""
    found = [values for name, values in seconds.items() if name.startswith(prefix)]
    return min(found, key=np.median, default=None)


def _convolution_row(torch, turns, images, height, width, channels, units):
    """Forward and both pullbacks of one convolution, beside PyTorch's faster memory format."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(images, height, width, channels)).astype(np.float32)
    weight = rng.normal(size=(units, 3, 3, channels)).astype(np.float32)
    g = rng.normal(size=(images, height, width, units)).astype(np.float32)

    def ours():
        convolution.conv2d(x, weight, None, (1, 1), (1, 1))
        convolution.conv2d_pullback(g, x, weight, (1, 1), (1, 1), (True, True, False))

    functions = {"ours": ours}
    if torch is not None:
        for layout in LAYOUTS:
            functions[f"PyTorch, {layout}"] = torch_convolution(torch, layout, x, weight, g)
    seconds = in_turns(functions, turns, repeats=2)
    operations = 3 * 2 * x.size * 9 * units  # of the plain sum, whatever the route saves
    rate = operations / np.median(seconds["ours"]) / 1e9
    name = f"convolution 3×3, {(images, height, width, channels)} → {units}"
    columns = _columns(seconds["ours"], _fastest(seconds, "PyTorch"))
    return name, *columns, f"{rate:.0f} effective GFLOP/s"


def torch_convolution(torch, layout, x, weight, g):
    """The same work in PyTorch; arrays channels last, as ours."""
    memory_format = getattr(torch, layout)
    x, weight, g = (
        torch.tensor(a).permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
        for a in (x, weight, g)
    )
    x.requires_grad_()
    weight.requires_grad_()

    def forward_and_back():
        x.grad = weight.grad = None
        torch.nn.functional.conv2d(x, weight, padding=1).backward(g)

    return forward_and_back


def step_functions(torch):
    """Training steps of a VGG-6 by name, ours and PyTorch's: forward, backward, SGD."""
    names = list(STEPS)
    if torch is not None:
        for method in filter(None, STEPS.values()):
            names += [f"PyTorch {method}, {layout}" for layout in LAYOUTS]
    return {name: step_function(torch, name, BATCH) for name in names}


def step_function(torch, name, batch):
    """The step of a name as `step_functions` has it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, SIZE, SIZE, 3)).astype(np.float32)
    labels = rng.integers(0, CLASSES, batch)
    if name in STEPS:
        return vgg_step(name, x, labels)
    method, layout = name.removeprefix("PyTorch ").split(", ")
    return torch_vgg_step(torch, method, layout, x, labels)


def vgg_step(method, x, labels):
    """One training step of our VGG-6."""
    model = vgg6(method, widths=WIDTHS, num_classes=CLASSES, rng=np.random.default_rng(0))
    optimizer = SGD(model.parameters(), 1e-3, momentum=0.9)

    def step():
        optimizer.zero_grad()
        ops.cross_entropy(model(x), labels).backward()
        optimizer.step()

    return step


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
    """r ReLU(u(θ) * x + λ), less its mean over the batch: the function, and its parameters."""
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
