"""The house's rules: imports point one way, no cycles, no module without end, no Taichi at import."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("diffsim", "rpg", "tasks")
FORBIDDEN = {"diffsim": ("rpg", "tasks"), "tasks": ("rpg",), "rpg": ("diffsim", "tasks")}
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    """Modules that a file imports when it is imported: those inside functions are left out."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_point_one_way(path):
    package = module_name(path).split(".")[0]
    everything = {
        name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
    }
    for name in everything:
        assert name.split(".")[0] not in FORBIDDEN[package], f"{module_name(path)} imports {name}"


def test_no_import_cycles():
    graph = {module_name(path): imports(path) for path in MODULES}
    graph = {name: {other for other in others if other in graph and other != name} for name, others in graph.items()}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above, name))
        if name not in done:
            for other in sorted(graph[name]):
                if not name.startswith(other + "."):  # a module may use the package it stands in
                    visit(other, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_no_module_without_end(path):
    assert len(path.read_text().splitlines()) <= 500


def test_importing_starts_nothing():
    code = "import sys, diffsim, diffsim.render, rpg, tasks; print('taichi' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_package_is_installed():
    tomllib = pytest.importorskip("tomllib")  # from Python 3.11 on
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {module_name(path) for path in MODULES if path.name == "__init__.py"}
    assert set(listed) - {"tasks.assets"} == found  # assets are data, installed as a package


def test_a_file_that_hides_a_package_is_named(tmp_path):
    (tmp_path / "tasks.py").write_text("mine = 1\n")
    (tmp_path / "script.py").write_text("import diffsim, tasks\nassert tasks.mine == 1\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert f"'{tmp_path / 'tasks.py'}' hides the package 'tasks'" in done.stderr
    assert "'rpg'" not in done.stderr
