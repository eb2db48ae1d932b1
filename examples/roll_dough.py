"""A roller flattens a block of dough into a slab, by the Earth Mover's distance to the slab.

diffsim-rpg check-task examples/roll_dough.py
diffsim-rpg optimize examples/roll_dough.py:RollDough --algo adam --num-envs 1 --iterations 30 --out runs/roll
"""

import diffsim as ds
from diffsim.render import Camera
from tasks import Task, ToolVelocity
from tasks.losses import ShapeTarget, earth_mover


class RollDough(Task):
    """A roller flattens a block of dough.

    Task: roll the block out to a slab of two thirds of its height.
    Randomisation: none.
    Success: at the end 60% of the Earth Mover's distance to the slab is gone.

    Attributes:
        height: of the slab, as a share of the block's.
    """

    horizon, dt, substeps = 12, 2e-3, 15
    height: float = 0.67

    def scene(self):
        dough = ds.ElastoPlastic(youngs_modulus=2e4, poissons_ratio=0.3, yield_stress=400.0)
        block = ds.SoftBody("dough", ds.Box((0.07, 0.06, 0.04)), (0.3, 0.3, 0.041), material=dough, particles=300)
        along_y = (0.5**0.5, 0.5**0.5, 0.0, 0.0)  # a capsule lies along z
        roller = ds.Tool("roller", ds.Capsule(0.06, 0.045), (0.3, 0.3, 0.126), along_y, control=("x", "z"), friction=0.3)
        return ds.Scene((block,), tools=(roller,), ground=ds.Ground(friction=1.0), upper=(0.6, 0.6, 0.3), grid_spacing=0.03)

    def actions(self):
        return [ToolVelocity("roller", speed=0.4)]

    def randomize(self, generator):
        if not hasattr(self, "target"):
            wide = self.height**-0.5  # of the same volume
            slab = ds.Box((0.07 * wide, 0.06 * wide, 0.04 * self.height))
            self.target = ShapeTarget.from_mesh(slab, (0.3, 0.3, 0.04 * self.height), points=300)
            self.untouched = earth_mover(self.sim.reset().x[:1], self.target.points).item()
        return self.episode(self.sim.reset())

    def score(self, state):
        """(B,): 0 for the block as it was, 1 for the slab."""
        return 1.0 - earth_mover(state.x, self.target.points) / self.untouched

    def reward(self, step):
        return self.score(step.after)

    def success(self, episode):
        return self.score(episode.state) > 0.6

    def camera(self):
        return Camera(position=(0.75, -0.25, 0.45), target=(0.3, 0.3, 0.04), vertical_fov_degrees=30)
