"""The kernel compiler: one module imports it, it is chosen by a variable, and quadrants runs on any thread."""

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import diffsim as ds
from diffsim import compiler, runtime

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
HAS_QUADRANTS = importlib.util.find_spec("quadrants") is not None


def run(code: str, **variables: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)


def test_only_the_compiler_module_names_a_compiler():
    for path in (ROOT / "diffsim").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
                assert not {name.split(".")[0] for name in names} & {"taichi", "quadrants"}, f"{path} imports {names}"


def test_an_unknown_compiler_is_refused(monkeypatch):
    monkeypatch.setenv("DIFFSIM_COMPILER", "numba")
    with pytest.raises(ds.InputError, match="DIFFSIM_COMPILER must be one of taichi, quadrants, got 'numba'"):
        compiler.name()


@pytest.mark.skipif(HAS_QUADRANTS, reason="quadrants is installed")
def test_a_missing_quadrants_says_how_to_get_it():
    done = run("import diffsim.runtime as r; r.start()", DIFFSIM_COMPILER="quadrants")
    assert "InputError: DIFFSIM_COMPILER=quadrants needs the package quadrants: pip install" in done.stderr


def test_the_options_are_restored_after_an_error():
    runtime.start()
    config = compiler._private("lang.impl").current_cfg()
    before = config.real_matrix_scalarize, config.cfg_optimization, config.opt_level
    inside = []

    def fail() -> None:
        with compiler.kernel_options(subexpressions=True):
            inside.append((config.real_matrix_scalarize, config.cfg_optimization, config.opt_level))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert inside == [(False, True, 1)]
    assert (config.real_matrix_scalarize, config.cfg_optimization, config.opt_level) == before


THREADS = """
import threading
import torch
import diffsim as ds

results = []

def simulate():
    body = ds.SoftBody("ball", ds.Sphere(0.1), (0.3, 0.3, 0.3), particles=50)
    sim = ds.Simulator(ds.Scene((body,), upper=(0.6, 0.6, 0.6), grid_spacing=0.05), substeps=2, dtype=torch.float64)
    state = sim.reset()
    v = state.v.requires_grad_()
    sim.step(state.replace(v=v), torch.zeros(1, 0, dtype=torch.float64)).x.sum().backward()
    results.append(float(v.grad.sum()))

threads = [threading.Thread(target=simulate) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(results), len(set(results)), results[:1])
"""


@pytest.mark.parametrize(
    "name",
    ["taichi", pytest.param("quadrants", marks=pytest.mark.skipif(not HAS_QUADRANTS, reason="quadrants is not installed"))],
)
def test_simulators_start_and_run_on_any_thread(name):
    done = run(THREADS, DIFFSIM_COMPILER=name)
    assert done.stdout.startswith("3 1 [0.3"), done.stdout + done.stderr
