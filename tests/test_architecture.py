"""The architecture as tests: what may import what, how long a file may be, and what must stay out of the start-up."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dvr_cli

PACKAGE = Path(dvr_cli.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

LAYERS = (
    *(
        "scenes",
        "matching",
        "preparing",
        "diagnosis",
        "kernels",
        "fields",
        "rendering",
        "fitting",
        "surfaces",
        "viewing",
        "baselines",
        "comparing",
    ),
    *("reporting", "commands", "app"),
)
"""From the bottom to the top; a module may import its own layer and those below."""

EVERYWHERE = ("errors", "config", "config_io", "files", "mistakes", "processors", "__version__")
"""Modules that every layer may import; they import none of the layers."""

HEAVY = ("torch", "open3d", "warp", "scipy", "pycolmap", "trimesh", "mcubes", "skimage", "jinja2", "xatlas", "pxr")
"""Libraries that take long to import."""

LONGEST_FILE = 400


def layer_of(module: str) -> str:
    """The layer of a module named within the package, e.g. `scenes.views` -> `scenes`."""
    first = module.split(".")[0]
    return {"__main__": "app", "console": "commands"}.get(first, first)


def imports_of(file: Path) -> set[str]:
    """Modules of the package that a file imports, anywhere in it, without the package's name."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            # `from dvr_cli.kernels import march` imports a module, so the imported names count as well.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.removeprefix("dvr_cli.") for name in names if name.startswith("dvr_cli.")}
    return found


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts)


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_imports_go_downwards(file):
    own = layer_of(module_name(file))
    imported = {layer_of(name) for name in imports_of(file)}
    if own in EVERYWHERE:
        assert imported <= set(EVERYWHERE)
    elif own in LAYERS:
        allowed = set(EVERYWHERE) | set(LAYERS[: LAYERS.index(own) + 1])
        assert imported <= allowed, f"{own} imports {sorted(imported - allowed)}, which lie above it"
    else:
        assert own == "__init__", f"{file} belongs to no layer"
        assert not imported


def test_import_check_sees_a_wrong_import(tmp_path):
    file = tmp_path / "views.py"
    file.write_text("def late():\n    from dvr_cli.fitting import events\n    import dvr_cli.app\n")
    assert {layer_of(name) for name in imports_of(file)} == {"fitting", "app"}


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_files_stay_short(file):
    assert len(file.read_text().splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_nothing_is_sent_to_a_fixed_device(file):
    calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    called = {node.func.attr for node in calls if isinstance(node.func, ast.Attribute)}
    assert "cuda" not in called, "use the device of the settings"


@pytest.mark.parametrize("module", ["dvr_cli", "dvr_cli.app", "dvr_cli.fitting.run_folder", "dvr_cli.scenes.readers"])
def test_import_stays_light(module):
    heavy = (*HEAVY, "pydantic") if module == "dvr_cli.app" else HEAVY
    code = f"import sys, {module}; print(*[name for name in {heavy!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == ""
