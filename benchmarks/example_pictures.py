"""Runs the examples as their docstrings say, and writes their pictures and the tables of docs/examples.md.

python -m benchmarks.example_pictures                     # all of them: 20 minutes of one core
python -m benchmarks.example_pictures --only own_policy   # one; its row and picture
python -m benchmarks.example_pictures --no-run            # the tables alone
"""

from __future__ import annotations

import ast
import base64
import io
import json
import re
import resource
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as iio
import matplotlib
import numpy as np
import torch
import tyro
from PIL import Image

from benchmarks.processes import one_thread, read_result, write_result, write_table

PAGE, EXAMPLES, PICTURES = Path("docs/examples.md"), Path("examples"), Path("docs/images/examples")
STORED = Path("benchmarks/results/examples.json")
"""CPU seconds by example."""
WIDTH, QUALITY = 320, 80
HEADINGS = ("picture", "what it shows", "command", "CPU s")
Draw = Callable[[Path, str], np.ndarray]
"""A picture (H, W, 3) of what an example left in a folder, and of what it printed."""


def left(pattern: str, *moments: float) -> Draw:
    """The picture, or those moments (shares of the length) of the video, side by side, that matches ``pattern``."""

    def draw(folder: Path, output: str) -> np.ndarray:
        (file,) = folder.glob(pattern)
        if file.suffix == ".png":
            return iio.imread(file)[..., :3]
        frames = iio.imread(file, plugin="pyav")
        return np.concatenate([frames[round(moment * (len(frames) - 1))] for moment in moments], axis=1)

    return draw


def curve(pattern: str, across: str, along: str) -> Draw:
    """Numbers that an example printed, two groups of ``pattern``, as a curve."""

    def draw(folder: Path, output: str) -> np.ndarray:
        matplotlib.use("Agg")
        from matplotlib import pyplot as plt

        found = np.array(re.findall(pattern, output), dtype=float)
        figure, ax = plt.subplots(figsize=(4.0, 2.6), layout="constrained")
        ax.plot(*found.T)
        ax.set(xlabel=across, ylabel=along)
        figure.savefig(folder / "curve.png", dpi=160)
        plt.close(figure)
        return iio.imread(folder / "curve.png")[..., :3]

    return draw


def pressed_jelly(folder: Path, output: str) -> np.ndarray:
    """The scene of check_gradients.py, which draws nothing, before and after the press."""
    from diffsim.render import SceneRenderer, side_by_side

    names = runpy.run_path(str(EXAMPLES / "check_gradients.py"))
    with torch.no_grad():
        states = names["sim"].rollout(names["start"], names["press"])
    renderer = SceneRenderer(names["scene"])
    return side_by_side([renderer.frame(states[0]), renderer.frame(states[-1])])


@dataclass(frozen=True)
class Shown:
    """An example: how it is run, in a folder of its own, and how its picture is made."""

    name: str
    draw: Draw
    command: str = "python examples/{name}.py"

    @property
    def file(self) -> Path:
        """What a reader opens."""
        return EXAMPLES / (f"{self.name}.ipynb" if "jupyter" in self.command else f"{self.name}.py")

    @property
    def line(self) -> str:
        """The command."""
        return self.command.format(name=self.name)

    @property
    def title(self) -> str:
        """The first line of its docstring; of a notebook, the first sentence below its heading."""
        if self.file.suffix == ".ipynb":
            below = "".join(json.loads(self.file.read_text())["cells"][0]["source"]).partition("\n\n")[2]
            return below.partition(". ")[0] + "."
        return (ast.get_docstring(ast.parse(self.file.read_text())) or "").partition("\n")[0]


def optimize(name: str, task: str, more: str, *moments: float) -> Shown:
    """A task that the command line optimises."""
    command = f"diffsim-rpg optimize examples/{name}.py:{task} {more} --out runs/{name}"
    return Shown(name, left(f"runs/{name}/*.mp4", *moments), command)


SECTIONS: dict[str, tuple[Shown, ...]] = {
    "first": (Shown("first_steps", left("*.png"), "jupyter lab examples/first_steps.ipynb"),),
    "gradients": (
        Shown("identify_material", left("*.png")),
        Shown("push_to_goal", left("*.mp4", 0.0, 1.0)),
        Shown("shape_plasticine", left("*.png")),
        Shown("robot_arm", left("*.mp4", 0.0, 1.0)),
        Shown("own_policy", left("*.mp4", 0.35)),
        Shown("check_gradients", pressed_jelly),
    ),
    "solutions": (
        Shown("several_solutions", left("*.png")),
        Shown("own_environment", left("*.png")),
        Shown("preferences", left("*.png")),
    ),
    "libraries": (
        Shown("learn_by_sb3", left("*.mp4", 0.0, 1.0)),
        Shown("cleanrl_ppo", curve(r"steps +(\d+)  return +(-?[\d.]+)", "steps", "return")),
    ),
    "robots": (
        Shown("urdf_robot", left("*.mp4", 0.4)),
        Shown("panda_grasp", left("*.mp4", 1.0)),
        Shown("panda_lift", left("*.mp4", 1.0)),
    ),
    "tasks": (
        optimize("drag_ring", "DragRing", "--iterations 40 --posterior-stride 3", 0.3),
        optimize("lift_block", "LiftBlock", "--num-envs 16", 1.0),
        optimize("roll_dough", "RollDough", "--algo adam --num-envs 1 --iterations 30", 1.0),
    ),
    "scenes": (Shown("pour_liquid", left("*.mp4", 0.6)), Shown("cut_dough", left("*.mp4", 1.0))),
}


def run(shown: Shown, folder: Path) -> tuple[str, float]:
    """What it printed, and the CPU seconds that it took."""
    if not (folder / "examples").exists():
        (folder / "examples").symlink_to(EXAMPLES.resolve())
    program, *arguments = shown.line.split()
    code = f"from benchmarks.example_pictures import run_notebook; run_notebook({str(shown.file)!r})"
    command = {
        "python": [sys.executable, *arguments],
        "diffsim-rpg": [sys.executable, "-m", "rpg.cli.main", *arguments],
        "jupyter": [sys.executable, "-c", code],
    }[program]
    environment = {**one_thread(), "PYTHONPATH": str(Path.cwd())}
    begun = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime


def run_notebook(path: str) -> None:
    """Run all cells, print what they print, and leave the last picture in this folder."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    print("".join(output.get("text", "") for output in outputs))
    pictures = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    Path("notebook.png").write_bytes(base64.b64decode(pictures[-1]))


def write_picture(path: Path, picture: np.ndarray) -> None:
    """As a JPEG of the gallery's width."""
    height = round(picture.shape[0] * WIDTH / picture.shape[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    out = io.BytesIO()
    Image.fromarray(picture).resize((WIDTH, height), Image.Resampling.LANCZOS).save(out, "JPEG", quality=QUALITY)
    path.write_bytes(out.getvalue())


def row(shown: Shown, seconds: dict[str, float]) -> tuple[str, ...]:
    """Its row."""
    path = PICTURES / f"{shown.name}.jpg"
    picture = f"![{shown.name}]({path.relative_to(PAGE.parent)})" if path.exists() else ""
    took = f"{seconds[shown.name]:.0f}" if shown.name in seconds else ""
    return picture, f"[{shown.file.name}](../{shown.file}): {shown.title}", f"`{shown.line}`", took


@dataclass(frozen=True)
class Options:
    """What to run."""

    only: str = ""
    """The name of one example."""
    run: bool = True
    """Whether examples are run; else pictures are made of what ``keep`` has, and the tables are written."""
    keep: Path | None = None
    """A folder where to keep what the examples leave and print, each in a folder of its name."""


def main(options: Options) -> None:
    everything = [shown for section in SECTIONS.values() for shown in section if options.only in ("", shown.name)]
    for shown in everything:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) if options.keep is None else options.keep / shown.name
            if options.run:
                folder.mkdir(parents=True, exist_ok=True)
                output, took = run(shown, folder)
                (folder / "printed.txt").write_text(output)
                write_result(STORED, {**(read_result(STORED) or {}), shown.name: round(took)})
                print(f"== {shown.line}: {took:.0f} s of CPU\n{output}", flush=True)
            if (folder / "printed.txt").exists():
                picture = shown.draw(folder, (folder / "printed.txt").read_text())
                write_picture(PICTURES / f"{shown.name}.jpg", picture)
    seconds: dict[str, float] = read_result(STORED) or {}
    for name, section in SECTIONS.items():
        write_table(PAGE, f"examples_{name}", HEADINGS, [row(shown, seconds) for shown in section])


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
