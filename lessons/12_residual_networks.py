# %% [markdown]
# # 12 · Residual networks and the ImageNet pipeline
# Goal: build a residual block and its pullback by hand, find the boundary of a unit that stands
#   behind a sum, and train a ResNet on JPEG files as one trains on ImageNet.
# Minutes: 60
# Difficulty: 4 of 5
# Symbols: x input of a block, F its branch, y = ReLU(F(x) + x), g = ∂L/∂y, h what the last unit of
#   a branch receives, s the value of the shortcut, u(θ), λ, r as before
# Before: lesson 11

# %%
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

# %%
import math
import tempfile

import numpy as np
from PIL import Image

from geonet import Tensor, characteristic, no_grad, ops
from geonet.data.decoding import random_box
from geonet.data.image_folders import ImageFolders
from geonet.experiments.sets.drawn_pictures import write_pictures
from geonet.models import resnet18
from geonet.nn import Conv2d, ResidualBlock, Unit
from geonet.train import SGD, CosineSchedule
from lessons import figures

quick = "--quick" in sys.argv  # a narrower network, and fewer pictures
rng = np.random.default_rng(0)

# %% [markdown]
# ## A layer that changes little
#
# A network of many layers should be able to do whatever a network of few layers does: its further
# layers would only have to pass on what they get. But a layer finds it hard to learn to do
# nothing. He, Zhang, Ren and Sun (2016) turned the question round. Let a block compute a *change*
# F(x), and add it to what came in:
#
#     y = ReLU(F(x) + x),        for instance  F(x) = W₂ ReLU(W₁ x).
#
# F is called the *branch*, the way around it the *shortcut*. A branch of zeros passes on x (which
# is not negative, since it comes out of a ReLU itself). In NumPy, with a row for each input:

# %%
count, width = 5, 4
x = np.maximum(rng.normal(size=(count, width)), 0)
w1, w2 = rng.normal(size=(2, width, width)) / 2

z1 = x @ w1.T  # (N, n)
h = np.maximum(z1, 0)  # what the last map of the branch receives
z = h @ w2.T + x  # F(x) + x
y = np.maximum(z, 0)
print("with a branch of zeros, y = x:", np.array_equal(np.maximum(h @ np.zeros_like(w2) + x, 0), x))

# %% [markdown]
# ## Two ways forward are two ways back
#
# x goes two ways to y, so its gradient is a sum of two. First g passes the ReLU behind the sum;
# what is left of it goes down the shortcut *unchanged* and up the branch as in any other network:
#
#     ∂L/∂z = g · 1[z > 0],
#     ∂L/∂x = ∂L/∂z  +  ((∂L/∂z W₂) · 1[z₁ > 0]) W₁.

# %%
g = rng.normal(size=y.shape)
to_z = g * (z > 0)  # ∂L/∂z
to_z1 = (to_z @ w2) * (z1 > 0)
to_x = to_z + to_z1 @ w1  # shortcut and branch

tape = Tensor(x, requires_grad=True)
ops.relu(ops.relu(tape @ w1.T) @ w2.T + tape).backward(g)
print(f"largest difference from geonet's tape: {np.abs(to_x - tape.grad).max():.1e}")
assert np.allclose(to_x, tape.grad, atol=1e-12)

# %% [markdown]
# That sum is the point of the whole construction. Through a chain of layers a gradient is
# multiplied by one matrix after another, and whatever each of them does to its length happens
# again and again. The shortcut always lets one copy through. We send the same gradient back
# through 32 layers, and through 32 blocks of two layers, all drawn by Glorot's rule.

# %%
depth, width = 32, 64
weights = rng.normal(size=(depth, 2, width, width)) / np.sqrt(width)  # Glorot: variance 1/n
start = np.maximum(rng.normal(size=(8, width)), 0)
for residual in (False, True):
    value, steps = start, []
    for first, second in weights:  # forward
        z1 = value @ first.T
        z = np.maximum(z1, 0) @ second.T + value if residual else z1
        value = np.maximum(z, 0)
        steps.append((z1, z))
    gradient = np.ones_like(value)
    sizes = [np.linalg.norm(gradient)]
    for (first, second), (z1, z) in zip(weights[::-1], steps[::-1]):  # and back
        to_z = gradient * (z > 0)
        gradient = to_z + ((to_z @ second) * (z1 > 0)) @ first if residual else to_z @ first
        sizes.append(np.linalg.norm(gradient))
    name = "residual blocks" if residual else "plain layers"
    seen = ", ".join(f"{sizes[k]:.1e}" for k in (0, 8, 16, 24, 32))
    print(f"{name:16} length of the gradient after 0, 8, 16, 24, 32: {seen}")

# %% [markdown]
# Glorot's rule forgets that a ReLU lets only half of the gradient through, so a plain chain loses
# a factor of about √2 at every layer. With shortcuts the gradient grows instead, since each block
# adds the branch's part to the copy. That is easier to live with, and the normalizations of lesson
# 10 keep the branches in check.
#
# ## The block of geonet
#
# In a ResNet the maps are 3 × 3 convolutions. `geonet.nn.ResidualBlock` takes the units of the
# branch, the last one without an activation. Here is the same block by hand, with the convolution
# of lesson 11.

# %%
block = ResidualBlock(
    [
        Unit(Conv2d(4, 4, 3, padding=1, activation="relu", rng=rng)),
        Unit(Conv2d(4, 4, 3, padding=1, rng=rng)),
    ]
)
images = np.maximum(rng.normal(size=(2, 6, 6, 4)), 0)
filters = [unit.layer.parameterization.weight.data.reshape(4, 3, 3, 4) for unit in block.units]

branch = np.maximum(ops.conv2d(images, filters[0], padding=1).data, 0)
branch = ops.conv2d(branch, filters[1], padding=1).data
by_hand = np.maximum(branch + images, 0)  # y = ReLU(F(x) + x)
print(f"block: largest difference {np.abs(by_hand - block(images).data).max():.1e}")
assert np.allclose(by_hand, block(images).data)

# %% [markdown]
# Where a stage of the network begins, pictures are halved and channels doubled, and F(x) + x would
# not fit. The shortcut is then a linear map itself, a 1 × 1 convolution with a stride of 2. Such a
# convolution is nothing but a matrix, applied to every second pixel of every second line.

# %%
shortcut = Conv2d(4, 8, 1, stride=2, rng=rng)
matrix = shortcut.parameterization.weight.data  # (8, 4)
halved = images[:, ::2, ::2] @ matrix.T
print("shortcut:", images.shape, "->", halved.shape)
assert np.allclose(halved, shortcut(images).data)

network = resnet18("GmP", num_classes=1000, rng=np.random.default_rng(0))
number = sum(parameter.size for parameter in network.parameters())
print(f"ResNet-18 under GmP: {number:,} parameters in {len(list(network.parameters()))} arrays")

# %% [markdown]
# ## Where is the boundary of a sum?
#
# All through this course a ReLU had a boundary, and the parameterization decided how it moves.
# What about the ReLU behind the sum? Under GmP the last unit of a branch has its scale r before
# the sum:
#
#     z = r (u·h + λ) + s,
#
# where h is the window that the last convolution sees, and s what the shortcut brings to the same
# place and channel. The boundary z = 0 is a hyperplane in (h, s) together. For one s we divide by
# r:
#
#     u·h + (λ + s/r) = 0.
#
# So the shortcut shifts the boundary along u, from place to place and from picture to picture, and
# never turns it. The direction u(θ) keeps its meaning, and all that lesson 09 proved of it. The
# offset does not: λ + s/r depends on the radius. For small |r| the boundary lies far out, and the
# unit hardly acts on the sum. For negative r the active side is the other one.
#
# We look at the first block of a ResNet-18 and compute z in both ways.

# %%
network = resnet18("GmP", num_classes=10, width=0.25, stem="small", rng=np.random.default_rng(0))
first_block = network[1]
pictures = rng.normal(size=(2, 16, 16, 3)).astype(np.float32)
with no_grad():
    s = network[0](pictures).data  # the block's input is the shortcut's value, (N, H, W, O)
    h = first_block.units[0](s).data  # (N, H, W, C)
    z = first_block.units[1](h).data + s

last = first_block.units[1].layer.parameterization
lambda_, r = last.lambda_.data, last.radius.data
u, at_zero = characteristic.boundary(
    first_block.units[1]
)  # (O, 9·C), and λ: the boundary for s = 0
assert np.allclose(at_zero, lambda_)

padded = np.pad(h, [(0, 0), (1, 1), (1, 1), (0, 0)])
windows = np.concatenate(
    [padded[:, i : i + 16, j : j + 16] for i in range(3) for j in range(3)], -1
)
offset = lambda_ + s / r  # (N, H, W, O): another boundary at every place
signed = windows @ u.T + offset  # u·h + (λ + s/r)
print(f"z = r · (u·h + λ + s/r): largest difference {np.abs(r * signed - z).max():.1e}")
assert np.allclose(r * signed, z, atol=1e-4)
low, high = offset[..., 0].min(), offset[..., 0].max()
print(f"unit 0 with r = {r[0]:.2f}: offsets λ + s/r from {low:.2f} to {high:.2f}")

# %% [markdown]
# ## The pipeline: from a JPEG file to a row of a batch
#
# ImageNet is a folder with a folder for each class. Its photographs have all sizes, and a network
# wants squares of one size. Real photographs are not ours to give away, so geonet draws pictures
# of ten shapes and textures and writes them in the very same layout.

# %%
counts = {"training": 160, "validation": 50} if quick else {"training": 1000, "validation": 300}
temporary = tempfile.TemporaryDirectory()
folder = Path(temporary.name, "pictures")
write_pictures(folder, np.random.default_rng(0), **counts)
paths = sorted(folder.glob("train/*/*.JPEG"))
print(len(paths), "training pictures in", len(list(folder.glob("train/*"))), "folders, such as")
print("   ", paths[0].relative_to(folder))

# %% [markdown]
# **Training pictures are cut at random.** Each time a picture is seen it is another part of it, so
# that the network does not learn pictures by heart. The part has between 8 % and 100 % of the
# area, and a ratio of width to height between ¾ and 4⁄3, uniform in its logarithm. With area A and
# ratio ρ the sides follow from w h = A and w/h = ρ:
#
#     w = √(A ρ),        h = √(A/ρ).
#
# If such a part does not fit into the picture, another is drawn.


# %%
def draw_box(width, height, rng):
    """Left, top, right, bottom of a random part (of the first of ten that fits)."""
    for _ in range(10):
        area = width * height * rng.uniform(0.08, 1)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return left, top, left + w, top + h
    return 0, 0, width, height  # simpler than geonet, for pictures that are nearly square


boxes = [draw_box(72, 72, np.random.default_rng(seed)) for seed in range(100)]
assert boxes == [random_box(72, 72, np.random.default_rng(seed)) for seed in range(100)]
print("three parts (left, top, right, bottom):", *boxes[:3])

# %% [markdown]
# The part is resized to the square and, in half of all cases, mirrored.
#
# **Validation pictures are cut in the middle**, the same each time: the shorter side is resized to
# 256⁄224 of the square's, and the middle is taken. Both steps at once are one box in the picture.
#
# **Then pixels become numbers.** A byte from 0 to 255 becomes a number from 0 to 1, from which the
# mean of its channel over ImageNet is subtracted, and which is divided by the standard deviation:
#
#     x = (pixel/255 − mean)/std.

# %%
size = 32
mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
data = ImageFolders(folder, size)
from_geonet, labels = next(data.validation_batches(10))

shorter = round(size * 256 / 224)  # 37 pixels, of which the middle 32 are taken
edge = round((shorter - size) / 2)
box = tuple(72 * side / shorter for side in (edge, edge, edge + size, edge + size))
for row, path in enumerate(sorted(folder.glob("val/*/*.JPEG"))[:10]):
    with Image.open(path) as image:
        small = image.resize((size, size), Image.Resampling.BILINEAR, box, reducing_gap=2.0)
    numbers = (np.asarray(small) / 255 - mean) / std  # x = (pixel/255 − mean)/std
    assert np.allclose(numbers, from_geonet[row], atol=1e-5)
print("a batch:", from_geonet.shape, from_geonet.dtype, "labels", labels)
print(
    "mean and standard deviation a channel:",
    from_geonet.mean((0, 1, 2)),
    from_geonet.std((0, 1, 2)),
)

# %% [markdown]
# ## Training
#
# What is left is the loop of lesson 10, with a residual network in it and pictures as its batches:
# SGD with momentum, and a rate that falls along half a cosine. We train under BN and under
# GmP+IMN, from the same initial weights and with the same order of pictures. The rates are those
# that the authors of GmP use, ten times larger for GmP, so this compares a method *with its rate*.
#
# Where does IMN take off its means? After every ReLU, the one after the sum too, and nowhere else.
# The last unit of a branch is linear, r (u·h + λ). If its mean over the batch were taken off, λ
# would go with it, and would have no gradient.

# %%
batch, epochs, width = (16, 2, 0.125) if quick else (32, 4, 0.25)
losses, accuracies = {}, {}
for method, rate in (("BN", 0.01), ("GmP+IMN", 0.1)):
    model = resnet18(
        method, num_classes=10, width=width, stem="small", rng=np.random.default_rng(1)
    )
    optimizer = SGD(model.parameters(), rate, momentum=0.9)
    schedule = CosineSchedule(optimizer, epochs * (data.train_count // batch))
    order = np.random.default_rng(2)
    losses[method] = []
    for _ in range(epochs):
        for x, labels in data.train_batches(batch, order):
            optimizer.zero_grad()
            loss = ops.cross_entropy(model(x), labels)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses[method].append(loss.item())
    model.eval()  # running means from here on
    with no_grad():
        hits = [
            (model(x).data.argmax(axis=1) == labels).mean()
            for x, labels in data.validation_batches(50)
        ]
    accuracies[method] = float(np.mean(hits))
    curve = losses[method]
    print(
        f"{method:8} {len(curve)} steps, mean loss of the first ten {np.mean(curve[:10]):.2f}, "
        f"of the last ten {np.mean(curve[-10:]):.2f}, top-1 on validation {accuracies[method]:.2f}"
    )
    assert np.isfinite(curve).all()

# %% [markdown]
# A network that guesses has a loss of ln 10 = 2.30 and hits one picture in ten. After so few steps
# the network has hardly begun (the running means, which remember about a hundred steps, lag behind
# as well), and which curve is lower says nothing yet about the methods: that takes whole trainings
# over several seeds, as lesson 10 has shown. `python -m geonet imagenet --help` is the same
# pipeline with checkpoints, workers and several processes, and takes the real ImageNet if you have
# it.
#
# ## The figure

# %%
from matplotlib.patches import Rectangle

figure = figures.Figure(figsize=(8.5, 7.2), layout="constrained")
axes = figure.subplot_mosaic([["lines", "picture"], ["crops", "loss"]])
direction, place = np.array([0.8, 0.6]), 0.5  # u and λ of a unit with two inputs
along = np.array([-direction[1], direction[0]]) * np.linspace(-4, 4, 9)[:, None]
lines = []
for k, (radius, value) in enumerate([(1.0, 0.0), (1.0, 1.0), (1.0, -1.0), (0.5, 1.0), (0.5, -1.0)]):
    shifted = place + value / radius  # λ + s/r
    ends = -shifted * direction + along
    axes["lines"].plot(*ends.T, **figures.style(k), label=f"r = {radius:g}, s = {value:g}")
    lines.append(f"r = {radius:g} and s = {value:g}: offset {shifted:g}")
axes["lines"].set(xlim=(-3, 3), ylim=(-3, 3), aspect="equal", xlabel="h₁", ylabel="h₂")
axes["lines"].set_title("One unit, its boundary for several s")
axes["lines"].legend(fontsize=8, loc="upper right")

with Image.open(paths[7]) as image:
    picture = np.asarray(image)
    parts = [
        np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box, reducing_gap=2.0))
        for box in boxes[:3]
    ]
axes["picture"].imshow(picture)
for k, (left, top, right, bottom) in enumerate(boxes[:3]):
    look = {"edgecolor": figures.COLOURS[(6, 7, 5)[k]], "linestyle": ("-", "--", ":")[k]}
    corner = (left - 0.5, top - 0.5)
    axes["picture"].add_patch(
        Rectangle(corner, right - left, bottom - top, fill=False, linewidth=2.5, **look)
    )
    axes["picture"].text(left + 1, top + 6, str(k + 1), color="white", backgroundcolor="black")
axes["picture"].set_title("A picture, and three random parts")
parts[1] = parts[1][:, ::-1]  # one of them mirrored
gap = np.full((size, 4, 3), 255, np.uint8)
axes["crops"].imshow(np.concatenate([parts[0], gap, parts[1], gap, parts[2]], axis=1))
axes["crops"].set_xticks([15, 51, 87], ["part 1", "part 2, mirrored", "part 3"])
axes["crops"].set_yticks([])
axes["crops"].set_title("What the network sees of it")
axes["picture"].set_xticks([])
axes["picture"].set_yticks([])
for k, (method, curve) in enumerate(losses.items()):
    smooth = [np.mean(curve[max(0, i - 9) : i + 1]) for i in range(len(curve))]
    look = figures.style(k) | {"markevery": max(1, len(curve) // 6)}
    axes["loss"].plot(range(1, len(curve) + 1), smooth, **look, label=method)
axes["loss"].axhline(math.log(10), color="0.5", linewidth=1, linestyle=":")
axes["loss"].set(xlabel="step", ylabel="loss, mean of the last ten steps")
axes["loss"].locator_params(axis="x", integer=True)
axes["loss"].set_title("A few steps (dotted: guessing)")
axes["loss"].legend()
figures.save(
    figure,
    "12_residual_networks",
    "Four panels. First: five parallel lines, boundaries of one unit with two inputs behind a sum; "
    + "; ".join(lines)
    + ". The shortcut's value s shifts the line and never turns it, and the further the smaller r "
    "is. Second: a drawn picture with three rectangles of different size and shape. Third: these "
    "parts resized to squares of 32 by 32 pixels, one of them mirrored. Fourth: training loss over "
    "steps; "
    + "; ".join(
        f"{method} goes from {curve[0]:.2f} to {np.mean(curve[-10:]):.2f} (last ten steps)"
        for method, curve in losses.items()
    )
    + "; guessing has 2.30.",
    title="The boundary of a sum, random parts of a picture, and the first steps of training",
)
data.close()
temporary.cleanup()

# %% [markdown]
# ## Exercises
#
# `python -m lessons start 12` writes work/12.py with three functions to fill in: the pullback of a
# residual block (12.a), the boundary of a unit behind a sum (12.b), and the way from bytes to
# numbers (12.c). `python -m lessons check 12` grades them.
#
# This was the last lesson. You have gone from one gradient by hand to a residual network, and
# every formula on the way is a line of code in geonet and a test beside it. README.md names the
# commands that repeat the paper's experiments. Change one thing, run it over several seeds, and see
# whether what you believe is so.
