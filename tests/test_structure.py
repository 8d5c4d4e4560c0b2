"""The order of the house: who may import whom, what is loaded when, what is documented."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "geonet"
MODULES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))
every_module = pytest.mark.parametrize("module", MODULES)
COURSE = PACKAGE.parent / "lessons"
# The lessons themselves are scripts of any length; the rest of the course is code as all other.
COURSE_MODULES = sorted(
    str(path.relative_to(PACKAGE.parent))
    for path in COURSE.rglob("*.py")
    if not path.name[0].isdecimal()
)
SOURCES = {m: (PACKAGE / m).read_text(encoding="utf-8") for m in MODULES} | {
    m: (PACKAGE.parent / m).read_text(encoding="utf-8") for m in COURSE_MODULES
}
TREES = {m: ast.parse(source) for m, source in SOURCES.items()}
every_module_and_the_course = pytest.mark.parametrize("module", list(SOURCES))

# The rooms of the house. One imports only those above it, and small helpers stand at the top.
ROOMS = (
    "lazy", "text", "files", "streams", "threads", "processes", "tensor", "kernels",
    "hypersphere", "ops", "nn", "models", "characteristic", "train", "check", "graph", "gradients",
    "interop", "data", "plots", "__init__", "experiments", "bench", "__main__",
)  # fmt: skip
MAY_USE = {  # of the engine, what these rooms are kept to
    "tensor": set(),
    "kernels": {"kernels", "threads", "text"},
    "hypersphere": {"kernels"},
    "ops": {"ops", "tensor", "kernels", "threads"},
}


def part_of(module):
    """`ops/matrices.py` belongs to ops, `tensor.py` to tensor."""
    return module.split("/")[0].removesuffix(".py")


def imports(tree, deferred=True):
    """Yield (module, name) of every import; `deferred` includes those inside functions."""
    todo = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports inside the package are absolute"
            yield from ((node.module, alias.name) for alias in node.names)
        elif deferred or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            todo.extend(ast.iter_child_nodes(node))


def parts_imported(tree):
    """The parts of the package that a module imports, anywhere in it."""
    for module, name in imports(tree):
        first, *rest = module.split(".")
        if first == "lessons":
            yield "lessons"
        if first == "geonet":
            if not rest and name and any(part_of(m) == name for m in MODULES):
                rest = [name]  # from geonet import ops
            yield rest[0] if rest else "geonet"


def packages_imported(tree, deferred):
    return {module.split(".")[0] for module, _ in imports(tree, deferred)}


def test_the_package_is_found():
    assert {"tensor.py", "ops/matrices.py", "nn/module.py", "kernels/pooling.py"} <= set(MODULES)
    assert set(parts_imported(TREES["ops/matrices.py"])) == {"kernels", "tensor"}
    assert "numba" in packages_imported(TREES["kernels/switch.py"], deferred=True)


@every_module
def test_a_room_imports_only_rooms_above_it(module):
    room = part_of(module)
    above = {"geonet" if r == "__init__" else r for r in ROOMS[: ROOMS.index(room)]}
    assert set(parts_imported(TREES[module])) <= MAY_USE.get(room, above | {room})


@every_module
def test_the_library_never_imports_the_reproduction(module):
    if part_of(module) not in ("experiments", "bench", "__main__"):
        assert not {"experiments", "bench", "__main__"} & set(parts_imported(TREES[module]))


@every_module
def test_nobody_imports_timings_or_the_course(module):
    assert "lessons" not in set(parts_imported(TREES[module]))
    if part_of(module) not in ("bench", "__main__"):
        assert "bench" not in set(parts_imported(TREES[module]))


@every_module
def test_only_plots_knows_matplotlib(module):
    assert part_of(module) == "plots" or "matplotlib" not in packages_imported(TREES[module], True)


def test_what_is_heavy_or_has_moved_is_found_where_it_was():
    program = """if True:
        import geonet
        assert geonet.plots.save and geonet.data.ImageSet and geonet.experiments.find
        assert geonet.nn.convert is geonet.interop.convert
        assert geonet.nn.export_torch is geonet.interop.export_torch
        assert geonet.characteristic.anticipate is geonet.gradients.anticipate
        import geonet.data.banana
        from geonet.data.levy import load_levy
        assert geonet.data.banana.read_banana and geonet.data.levy.load_levy is load_levy
        assert {"data", "plots", "experiments"} <= set(dir(geonet))
        assert "convert" in dir(geonet.nn) and "ImageFolders" in dir(geonet.data)
        from geonet.data.banana import read_banana
        from geonet.data.imagenet import ImageFolders
        from geonet.data.imagenet_pictures import write_pictures
        from geonet.gradcheck import GradientError
        from geonet.nn import import_torch
        assert callable(geonet.gradcheck) and GradientError is geonet.check.GradientError
        try:
            geonet.nonsense
        except AttributeError as error:
            assert "nonsense" in str(error)
        else:
            raise AssertionError
    """
    subprocess.run([sys.executable, "-c", program], cwd=PACKAGE.parent, check=True)


@every_module
def test_nothing_heavy_or_optional_is_imported_with_a_module(module):
    optional = {"numba", "torch", "scipy", "pandas", "mpi4py", "distributed", "dask"}
    assert not packages_imported(TREES[module], deferred=False) & optional
    assert not packages_imported(TREES[module], deferred=True) & {"scipy", "pandas"}


def test_importing_the_package_loads_neither_numba_nor_matplotlib():
    program = "import sys, geonet; print(*{m.split('.')[0] for m in sys.modules})"
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, cwd=PACKAGE.parent, check=True, capture_output=True, text=True)
    loaded = set(result.stdout.split())
    assert {"geonet", "numpy"} <= loaded
    assert not loaded & {"numba", "llvmlite", "matplotlib", "PIL", "torch", "scipy", "pandas"}


EVERYTHING = """if True:
    import geonet, geonet.plots, geonet.data.image_folders, geonet.experiments, geonet.bench
    geonet.experiments.find()
"""


@pytest.mark.parametrize("options", [("-OO",), ("-W", "error", "-bb"), ("-X", "utf8=0")])
def test_importing_says_nothing_under_any_options_of_python(options):
    command = [sys.executable, *options, "-c", EVERYTHING]
    done = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "program",
    [
        f"import sys; sys.stdin = sys.stdout = sys.stderr = None\n{EVERYTHING}",
        f"import sys, time, threading; sys.argv.clear()\n{EVERYTHING}",
        "import importlib, geonet; a = geonet.Tensor; assert importlib.reload(geonet).Tensor is a",
        """if True:
            from concurrent.futures import ThreadPoolExecutor
            from importlib import import_module
            with ThreadPoolExecutor(4) as pool:
                first, *others = pool.map(import_module, ["geonet", "geonet.plots"] * 4)
            assert first is others[1]
        """,
    ],
    ids=["without streams", "without arguments", "again", "in threads"],
)
def test_importing_works_in_any_surroundings(program):
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_importing_needs_no_path_but_the_folder_it_is_in(tmp_path):
    program = f"import sys; sys.path.append({str(PACKAGE.parent)!r}); import geonet, geonet.plots"
    subprocess.run([sys.executable, "-I", "-c", program], cwd=tmp_path, check=True)


@every_module_and_the_course
def test_randomness_comes_only_from_generators_that_are_passed_in(module):
    allowed = {"default_rng", "Generator", "RandomState", "SeedSequence", "PCG64", "MT19937"}
    used = {name for source, name in imports(TREES[module]) if source == "numpy.random"}
    for node in ast.walk(TREES[module]):
        match node:
            case ast.Attribute(ast.Attribute(ast.Name("np" | "numpy"), "random"), name):
                used.add(name)
    assert used <= allowed
    assert "random" not in packages_imported(TREES[module], deferred=True)


@pytest.mark.parametrize("module", COURSE_MODULES)
def test_the_course_stands_on_what_is_public_and_imports_nothing_optional(module):
    assert not packages_imported(TREES[module], True) & {"torch", "scipy", "pandas", "mpi4py"}
    assert not set(parts_imported(TREES[module])) & {"bench", "__main__"}
    from_experiments = {m for m, _ in imports(TREES[module]) if m.startswith("geonet.experiments")}
    assert all(m.startswith("geonet.experiments.sets") for m in from_experiments)
    draws = {"plots"} & set(parts_imported(TREES[module]))
    assert not draws or module in ("lessons/figures.py", "lessons/doctor.py")


def leaves_the_encoding_to_the_system(call):
    """Whether a call reads, writes or receives text in whatever encoding the system has."""
    name, given = ast.unparse(call.func), {word.arg for word in call.keywords}
    if given & {"encoding", None}:  # None stands for **options
        return False
    if name.startswith("subprocess."):
        return bool(given & {"text", "universal_newlines", "errors"})
    if name in ("open", "os.fdopen", "path.open"):
        modes = call.args[name != "path.open" :] + [
            w.value for w in call.keywords if w.arg == "mode"
        ]
        return not any("b" in ast.unparse(mode) for mode in modes)
    return name.endswith((".read_text", ".write_text", "TextIOWrapper"))


def test_text_is_in_an_encoding_of_our_choice():
    found = []
    for path in [*PACKAGE.rglob("*.py"), *COURSE.rglob("*.py")]:
        calls = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        found += [
            f"{path.name}: {ast.unparse(call)}"
            for call in calls
            if isinstance(call, ast.Call) and leaves_the_encoding_to_the_system(call)
        ]
    assert found == []
    for text in ("open(p)", "open(p, 'w')", "path.read_text()", "subprocess.run(c, text=True)"):
        assert leaves_the_encoding_to_the_system(ast.parse(text).body[0].value)
    for text in ("open(p, 'rb')", "open(p, encoding='utf-8')", "subprocess.run(c)"):
        assert not leaves_the_encoding_to_the_system(ast.parse(text).body[0].value)


@every_module_and_the_course
def test_public_functions_and_classes_are_documented(module):
    undocumented = [
        node.name
        for node in TREES[module].body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert undocumented == []
    assert ast.get_docstring(TREES[module]) or not TREES[module].body
