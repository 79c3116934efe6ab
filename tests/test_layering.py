"""Data walks one way: no room of the package imports a room below its own, and heavy libraries stay out of the core."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import losscope

PACKAGE = Path(losscope.__file__).parent

# From the top down. A room imports rooms of the lines above its own, and none of its own line.
LAYERS = [
    {"errors", "notation"},
    {"kernels"},
    {"validate"},
    {"targets", "parallel", "cost"},
    {"links"},
    {"losses", "io"},
    {"explain", "summary", "example"},
    {"linting"},
    {"figures", "watching"},
    {"reporting", "integrations", "bench"},
    {"learn"},
    {"cli"},
]
LAYER_OF = {room: i for i, rooms in enumerate(LAYERS) for room in rooms}

CORE = ["errors", "notation", "kernels", "targets", "validate", "parallel", "links", "losses"]
MAY_IMPORT = {  # beside torch and the standard library
    "kernels": {"numpy", "numba", "llvmlite", "triton"},
    "io": {"numpy", "pyarrow", "safetensors"},
}
SLOW_TO_IMPORT = ["jinja2", "marimo", "numba", "plotly", "pyarrow", "rich", "scipy", "sklearn", "torchmetrics", "typer"]


def imports(path):
    """The modules that a file imports, as dotted names: inside functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            base = node.module
            yield from (f"{base}.{alias.name}" for alias in node.names) if base == "losscope" else (base,)


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(path for path in PACKAGE.rglob("*.py") if room(path) != "__init__")
ROOMS = sorted({room(path) for path in FILES})


def imported_rooms(path):
    """The rooms of the package that a file imports, without its own."""
    names = (name.split(".") for name in imports(path))
    return {parts[1] for parts in names if parts[0] == "losscope" and len(parts) > 1} - {room(path), "__version__"}


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_imports_only_rooms_above_it(name):
    assert name in LAYER_OF, f"{name} is a new room: give it its layer here and in docs/design.md"
    files = [path for path in FILES if room(path) == name]
    below = {
        f"{path.relative_to(PACKAGE)} imports {other}"
        for path in files
        for other in imported_rooms(path)
        if LAYER_OF[other] >= LAYER_OF[name]
    }
    assert not below


def test_files_are_read_beside_the_losses():
    """io imports the errors and nothing else of the package."""
    assert set().union(*(imported_rooms(path) for path in FILES if room(path) == "io")) == {"errors"}


@pytest.mark.parametrize("name", [*CORE, "io"])
def test_the_core_needs_torch_and_little_else(name):
    names = {imported.split(".")[0] for path in FILES if room(path) == name for imported in imports(path)}
    allowed = {"torch", "losscope", "__future__", *sys.stdlib_module_names} | MAY_IMPORT.get(name, set())
    assert names <= allowed


def test_nothing_slow_is_imported_before_it_is_needed():
    script = (
        "import sys, torch; before = set(sys.modules); import losscope as ls\n"
        "ls.cross_entropy(torch.randn(2, 3), torch.tensor([0, 1]), label_smoothing=0.1)\n"
        f"print(*({{*sys.modules}} - before) & {{*{[m for m in SLOW_TO_IMPORT if m != 'numba']!r}}})"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def test_the_check_can_see_every_form_of_import(tmp_path):
    source = tmp_path / "x.py"
    source.write_text(
        "import losscope.cli\nfrom losscope import figures\nfrom losscope.io.read import f\n"
        "def g():\n    import plotly.express as px\n"
    )
    assert sorted(imports(source)) == ["losscope.cli", "losscope.figures", "losscope.io.read", "plotly.express"]
