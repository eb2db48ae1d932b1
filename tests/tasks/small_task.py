"""A task small enough for tests, as an author would write it, and files with one change to it."""

from pathlib import Path

TEXT = '''import torch
import diffsim as ds
from tasks import Task


class Push(Task):
    """A ball pushes a block.

    Task: move the block along x.
    Randomisation: where the ball begins.
    Success: it moved by 1 mm.
    """

    horizon, dt, substeps, tool_speed = 6, 4e-3, 4, 1.5

    def scene(self):
        block = ds.SoftBody("block", ds.Box((0.06, 0.06, 0.06)), (0.3, 0.3, 0.061), particles=60)
        ball = ds.Tool("ball", ds.Sphere(0.06), (0.18, 0.3, 0.06), control=("x",))
        return ds.Scene((block,), tools=(ball,), upper=(0.6, 0.6, 0.4), grid_spacing=0.05)

    def randomize(self, generator):
        state = self.sim.reset()
        shift = torch.nn.functional.pad(self.uniform(generator, 1, 1, low=-0.005, high=0.0), (0, 2))
        return self.episode(state.replace(tool_position=state.tool_position + shift))

    def reward(self, step):
        return 10.0 * (step.after.x[..., 0].mean(dim=1) - 0.3)

    def success(self, episode):
        return episode.state.x[..., 0].mean(dim=1) > 0.301
'''


def write_task(folder: Path, old: str = "", new: str = "", more: str = "", name: str = "push.py") -> Path:
    """The task in a file, with the text `old` changed and methods added."""
    assert old in TEXT
    path = folder / name
    path.write_text(TEXT.replace(old, new) + more)
    return path
