"""One switch: every kernel has its plain function, and everything runs on those alone."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from kernel_helpers import of_compiled_code

from geonet.kernels import outer_product, reference
from geonet.kernels.switch import equal_to, lazy_jit

KERNELS = Path(reference.__file__).parent
PROGRAM = """if True:
    import json, sys
    {before}
    import numpy as np
    from geonet import METHODS, models, ops, train

    def losses(model, loss, x, y):
        found = []
        optimizer = train.SGD(model.parameters(), 0.01, momentum=0.9)
        if x.ndim == 2:
            optimizer = train.Adam(model.parameters(), 0.01)
        for _ in range(3):
            optimizer.zero_grad()
            value = loss(model(x), y)
            value.backward()
            optimizer.step()
            found.append(value.item())
        return found

    rng = np.random.default_rng(0)
    x, images, labels = rng.normal(size=(20, 3)), rng.normal(size=(4, 16, 16, 3)), [0, 1, 2, 1]
    found = {{}}
    for method in METHODS:
        rng = np.random.default_rng(1)
        mlp = models.mlp([3, 8, 8, 1], method, rng=rng)
        vgg = models.vgg6(method, num_classes=3, width=0.06, rng=rng, dtype=np.float64)
        found[method] = losses(mlp, ops.mse, x, x[:, :1])
        found[method] += losses(vgg, ops.cross_entropy, images, labels)
    print(json.dumps([found, "numba" in sys.modules and sys.modules["numba"] is not None]))
"""


def outcome(before, **variables):
    """Losses of three steps under every method, and whether Numba was loaded."""
    program = PROGRAM.format(before=before)
    environment = {k: v for k, v in os.environ.items() if k != "GEONET_KERNELS"} | variables
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


@of_compiled_code
@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "variables"),
    [("", {"GEONET_KERNELS": "numpy"}), ("sys.modules['numba'] = None", {})],
    ids=["GEONET_KERNELS=numpy", "without Numba"],
)
def test_every_method_trains_alike_on_plain_numpy(before, variables):
    compiled, loaded = outcome("")
    assert loaded
    plain, loaded = outcome(before, **variables)
    assert not loaded
    for method, losses in compiled.items():
        np.testing.assert_allclose(plain[method], losses, rtol=1e-9)


@of_compiled_code
def test_another_word_is_refused_by_name_and_not_before_a_kernel_runs():
    program = """if True:
        import os
        os.environ["GEONET_KERNELS"] = "cupy"
        import geonet
        print("imported")
        geonet.hypersphere.to_cartesian([[1.0, 2.0]])
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode
    assert done.stdout == "imported\n"
    assert "GEONET_KERNELS must be numba or numpy, but is 'cupy'" in done.stderr


CACHED = """
import sys
from geonet.kernels.switch import lazy_jit

@lazy_jit
def double(x):
    return 2 * x

@lazy_jit
def more(x):
    return double(x) + 1

if sys.argv[1:]:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # no file may grow, as on a full disk
print(more(3), sum(more.compiled.stats.cache_hits.values()))
"""


def cached(folder, *words, home=None):
    """What the program above prints in a folder: a value, and how often the cache had the code."""
    script = folder / "cached.py"
    if not script.exists():
        script.write_text(CACHED, encoding="utf-8")
    settings = {
        k: v for k, v in os.environ.items() if k not in ("NUMBA_CACHE_DIR", "GEONET_KERNELS")
    }
    settings |= {"PYTHONPATH": str(KERNELS.parents[1]), "HOME": str(home or folder)}
    settings |= {"XDG_CACHE_HOME": settings["HOME"], "LOCALAPPDATA": settings["HOME"]}
    done = subprocess.run(
        [sys.executable, script, *words], env=settings, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    return tuple(map(int, done.stdout.split()))


@of_compiled_code
def test_kernels_are_compiled_where_no_folder_can_be_written_to(tmp_path):
    (tmp_path / "__pycache__").write_text("")
    (tmp_path / "home").write_text("")
    assert cached(tmp_path, home=tmp_path / "home") == (7, 0)
    assert cached(tmp_path, home=tmp_path / "nowhere" / "home") == (7, 0)


@of_compiled_code
@pytest.mark.parametrize("ending", ["nbi", "nbc"])
def test_a_damaged_cache_is_replaced(ending, tmp_path):
    assert cached(tmp_path) == (7, 0)
    assert cached(tmp_path) == (7, 1)
    first, second = tmp_path.rglob(f"*.{ending}")
    first.write_bytes(b"")
    second.write_bytes(second.read_bytes()[:100])
    assert cached(tmp_path) == (7, 0)
    assert cached(tmp_path) == (7, 1)


@of_compiled_code
@pytest.mark.skipif(os.name != "posix", reason="limits of files are POSIX")
def test_a_disk_that_is_full_costs_no_more_than_the_cache(tmp_path):
    assert cached(tmp_path, "full") == (7, 0)
    assert cached(tmp_path) == (7, 0)
    assert cached(tmp_path) == (7, 1)


def test_every_function_of_the_reference_has_a_kernel_that_equals_it():
    """But Winograd's, another way to `conv2d`, and average pooling, which no network here uses;
    `windows` is a part of others."""
    tree = ast.parse((KERNELS / "reference.py").read_text(encoding="utf-8"))
    plain = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    equalled = set()
    for path in KERNELS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(ast.Name("equal_to"), [ast.Attribute(ast.Name("reference"), name)]):
                    equalled.add(name)
    alone = {"winograd", "windows"}
    assert plain - alone == equalled


def test_the_reference_imports_numpy_alone():
    tree = ast.parse((KERNELS / "reference.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {getattr(node, "module", None) or node.names[0].name for node in imports}
    assert {name.split(".")[0] for name in names} == {"numpy"}


@of_compiled_code
def test_arrays_that_compiled_code_does_not_take_go_to_the_reference():
    taken = []

    @equal_to(lambda x, y: "reference", arrays=1)
    def kernel(x, y):
        taken.append(x)
        return "kernel"

    assert kernel(np.ones(2), None) == kernel(np.ones(2, np.float32), 1j) == "kernel"
    for other in (np.ones(2, complex), np.ones(2, int), np.ones(2, ">f8"), np.float16(1), 1.0):
        assert kernel(other, None) == "reference"
    assert len(taken) == 2
    x = np.array([1 + 1j])
    np.testing.assert_array_equal(outer_product.outer(x, x), [[2j]])


@lazy_jit
def double(x):
    return 2.0 * x


@lazy_jit(fastmath={"contract"})
def double_and_add(x, y):
    return double(x) + y


@of_compiled_code
def test_lazy_kernels_call_one_another_and_keep_the_plain_function():
    assert double_and_add(3.0, 1.0) == double_and_add.py_func(3.0, 1.0) == 7.0
    assert double.__name__ == "double"


def test_importing_the_kernels_does_not_import_numba():
    program = "import sys, geonet.kernels.directions; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


# By module with compiled kernels: calls with sizes that cannot be, as users can make them. A call
# takes arrays a (2, 3), b (3,), images (1, 5, 5, 2), a generator and the package.
WRONG_SIZES = """if True:
    import json, sys
    import numpy as np
    from geonet import Tensor, gradients, hypersphere, nn, ops, train
    from geonet.kernels import inspector, optimizers

    def rng():
        return np.random.default_rng(0)

    a, b, images = np.ones((2, 3)), np.ones(3), rng().normal(size=(1, 5, 5, 32))
    many, none, kernels = np.ones(10**6), np.ones(0), np.ones((32, 3, 3, 32))

    def replaced(module, name, value, data=False):
        "A function that calls a module with one of its arrays replaced, forward and back."
        def call():
            owner, _, last = name.rpartition(".")
            owner = dict(module.named_modules())[owner]
            if isinstance(getattr(owner, last), Tensor):
                getattr(owner, last).data = value
            else:
                setattr(owner, last, value)
            module(a).sum().backward()
        return call

    def unit(kind="standard", norm=None, centring=None):
        return nn.Unit(nn.Linear(3, 4, kind, "relu", rng=rng()), norm, centring)

    def trained(name, value, kind):
        def call():
            model = unit()
            optimizer = kind(model.parameters())
            for parameter in model.parameters():
                parameter.grad = np.ones(parameter.shape)
            setattr(optimizer.parameters[0], name, value)
            optimizer.step()
        return call

    def inspected(change, kind="standard"):
        def call():
            model = nn.Sequential(unit(kind, centring=nn.MeanNorm(4)))
            with gradients.Inspector(model) as inspector:
                for _ in range(2):
                    model(a).sum().backward()
                    change(model[0])
                    inspector.record()
        return call

    def grown(unit):
        unit.layer = nn.Linear(3, 400, activation="relu", rng=rng())
        unit.centring = nn.MeanNorm(400)

    def bigger_rows(unit):
        rows = unit.layer.parameterization
        rows.weight.data, rows.bias.data = np.ones((400, 3)), np.ones(400)
        unit.centring = nn.MeanNorm(400)

    def bigger_gradient(unit):
        unit.layer.parameterization.weight.grad = np.ones((4, 4000))

    def batch_mean(unit):
        unit.centring.batch_mean = many

    def statistics(value):
        return lambda: ops.batch_norm(a, b, b, 1e-3, moments=(value, b))

    rows = {"standard": "weight bias", "weight_norm": "v length bias",
            "cartesian": "v lambda_ radius", "geometric": "theta lambda_ radius"}
    norms = {nn.BatchNorm: "gamma beta running_mean running_var", nn.LayerNorm: "gamma beta",
             nn.MeanNorm: "running_mean"}
    calls = {
        "activation": [lambda: ops.scaled_relu(a, many), lambda: ops.scaled_relu(a, b, none),
                       lambda: ops.centred_scaled_relu(a, many, b),
                       lambda: ops.centred_scaled_relu(a, b, b[:2]),
                       lambda: ops.relu(Tensor(a, True)).backward(many),
                       *(replaced(unit(k, centring=nn.MeanNorm(4)), f"layer.parameterization.{n}",
                                  value)
                         for k in rows for n in rows[k].split() for value in (many, none))],
        "normalization": [lambda: ops.batch_norm(a, many, b, 1e-3), statistics(many),
                          lambda: ops.batch_norm(a, b, none, 1e-3), statistics(none),
                          lambda: ops.layer_norm(a, many, b, 1e-3), lambda: ops.centre(a, many),
                          lambda: ops.batch_moments(none),
                          lambda: ops.centre(a, b, moments=(many,)),
                          lambda: ops.centre(Tensor(a, True)).backward(many),
                          *(replaced(unit(norm=norm(4)), f"normalization.{name}", value)
                            for norm, names in norms.items() for name in names.split()
                            for value in (many, none))],
        "pooling": [*(lambda s=s: ops.max_pool2d(images, *s)
                      for s in ((0,), (-1,), (6,), (2.0,), (10**30,), (2, 0), (2, -1), (2, 1.5),
                                (2, 1, 2), (2, 1, -1), (2, 1, 0.5))),
                    lambda: ops.max_pool2d(a, 1), lambda: ops.max_pool2d(images[0], 1),
                    lambda: ops.max_pool2d(Tensor(images, True), 2).backward(many)],
        "winograd.transforms": [lambda: ops.conv2d(images, kernels[..., :31]),
                                lambda: ops.conv2d(images, kernels, many),
                                lambda: ops.conv2d(images, kernels, b, 1, 1, "winograd"),
                                lambda: ops.conv2d(images, kernels[:, :2], None, 1, 1, "winograd"),
                                lambda: ops.conv2d(images, kernels, None, 2, 1, "winograd"),
                                *(lambda s=s: ops.conv2d(images, kernels, None, *s)
                                  for s in ((0,), (-1,), (1.5,), (1, -1), (1, 0.5), ((1, 1, 1),))),
                                lambda: ops.conv2d(images[:, :2], kernels),
                                lambda: ops.conv2d(images, kernels[:0]),
                                lambda: ops.conv2d(images, kernels[..., :0]),
                                lambda: ops.conv2d(Tensor(images, True), kernels).backward(many),
                                *(lambda s=s: nn.Conv2d(1, 1, *s, rng=rng())
                                  for s in ((0,), (-1,), (2.5,), (3, 0), (3, 1, -1), ((3,) * 3,)))],
        "directions": [lambda: ops.hyperspherical(b), lambda: hypersphere.to_cartesian(1.0),
                       lambda: hypersphere.to_cartesian(a, many),
                       lambda: ops.hyperspherical(Tensor(a, True)).backward(many),
                       replaced(unit("geometric"), "layer.parameterization.theta", kernels[0, 0])],
        "outer_product": [lambda: ops.linear(a[:, :1], a), lambda: ops.linear(a, a[:, :1]),
                          lambda: ops.linear(a[:, :1], a[:, :1], many),
                          lambda: ops.linear(Tensor(a[:, :1], True), a[:, :1]).backward(many)],
        "inspector": [inspected(grown), inspected(bigger_rows), inspected(bigger_gradient),
                      inspected(batch_mean),
                      lambda: inspector.gradient_parts(a, np.ones((2, 9)), *np.ones((4, 2))),
                      lambda: inspector.gradient_parts(np.ones((9, 3)), np.ones((9, 3)),
                                                       *np.ones((4, 2))),
                      lambda: inspector.movement(a, b[:2], np.ones((2, 9)), *np.ones((3, 2))),
                      lambda: inspector.movement(*map(np.ones, [(9, 3), 9, (9, 3), 2, 2, 2])),
                      lambda: inspector.activity(a, np.ones(2), np.ones(2)),
                      lambda: inspector.activity(np.ones((2, 9)), np.ones(9), b)],
        "optimizers": [*(trained(name, value, kind) for name in ("data", "grad")
                         for value in (many, none, np.ones((4, 4)), np.ones((1, 3)))
                         for kind in (train.Adam, train.AdamW, lambda p: train.SGD(p, 1, 0.9),
                                      lambda p: train.SGD(p, 1))),
                       *(lambda i=i: optimizers.adam(*(np.ones(7 if i == k else 3)
                                                       for k in range(4)), *np.ones(5))
                         for i in range(4)),
                       *(lambda i=i: optimizers.sgd(*(np.ones(7 if i == k else 3)
                                                      for k in range(3)), *np.ones(3))
                         for i in range(3))],
    }
    found = {name: [] for name in calls}
    for name, wrong in calls.items():
        for call in wrong:
            try:
                call()
            except Exception as error:
                refused = isinstance(error, ValueError | TypeError)
                found[name].append("" if refused else repr(error))
            else:
                found[name].append("nothing")
            print(name, len(found[name]), file=sys.stderr, flush=True)  # the last before a crash
    print(json.dumps(found))
"""


def test_compiled_code_never_trusts_a_size():
    files = [file for file in KERNELS.rglob("*.py") if "\n@lazy_jit" in file.read_text("utf-8")]
    compiled = {".".join(file.relative_to(KERNELS).with_suffix("").parts) for file in files}
    done = subprocess.run([sys.executable, "-c", WRONG_SIZES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.keys() == compiled  # a new file with compiled code must be tried here too
    accepted = {(n, i): e for n, errors in found.items() for i, e in enumerate(errors) if e}
    assert not accepted
