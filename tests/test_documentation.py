"""The site's pages: their code runs, and every public name has its place in the reference."""

import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
RUN_HERE = ("../README.md", "install.md", "quickstart.md", "resolution.md", "tools.md", "pictures.md")
"""Pages whose blocks are run here, one after the other; others have tests of their own."""


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN_HERE)
def test_a_pages_code_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)
    assert blocks
    names: dict = {"__name__": "pasted"}
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    if page == "quickstart.md":
        assert names["info"]["success"].all()  # the plan by plain gradient descent reaches the goal
        assert names["speed"].grad.abs().min() > 0.0
        assert (tmp_path / "nudge.mp4").stat().st_size > 1000


@pytest.mark.parametrize("package", ["diffsim", "diffsim.render", "diffsim.viewer", "rpg", "tasks", "tasks.losses"])
def test_every_public_name_is_in_the_reference(package):
    listed = set(
        re.findall(r"^\.\. auto\w+:: ([\w.]+)$", "".join(p.read_text() for p in (DOCS / "api").glob("*.md")), flags=re.M)
    )
    module = importlib.import_module(package)
    public = {f"{package}.{name}" for name in module.__all__ if callable(getattr(module, name)) and not name.startswith("__")}
    assert public <= listed, f"not in docs/api: {', '.join(sorted(public - listed))}"
    assert all(hasattr(module, name.rpartition(".")[2]) for name in listed if name.rpartition(".")[0] == package)


def test_every_page_can_be_reached():
    linked = {name for page in DOCS.rglob("*.md") for name in re.findall(r"^([\w/]+)$", page.read_text(), flags=re.M)}
    assert {page.stem for page in DOCS.glob("*.md")} - {"index"} <= linked


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("sphinx")
    pytest.importorskip("furo")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(DOCS), str(tmp_path / "html")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    reference = (tmp_path / "html" / "api" / "diffsim.html").read_text()
    assert 'id="diffsim.Scene"' in reference
    assert "InputError" in reference


def test_docstrings_are_laid_out_for_the_site():
    spec = importlib.util.spec_from_file_location("conf", DOCS / "conf.py")
    conf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conf)
    given = ["Of |x|, `a*b`:", "    one: of", "        it", "", "Task: this", "    and that.", "Success: so."]
    expected = [r"Of \|x\|, `a*b`:", "", "- one: of", "  it", "", "Task: this", "and that.", "", "Success: so."]
    assert conf.laid_out(given) == expected
