"""Small scenes that several tests share."""

import torch

import diffsim as ds


def contact_scene(yield_stress: float | None = None, *, material: ds.Material | None = None) -> ds.Scene:
    """A block between a poking sphere, a turning capsule, a rounded obstacle and the ground."""
    elastic = {"youngs_modulus": 5e3, "poissons_ratio": 0.3, "density": 1e3}
    if material is None:
        material = ds.Elastic(**elastic) if yield_stress is None else ds.ElastoPlastic(**elastic, yield_stress=yield_stress)
    return ds.Scene(
        soft_bodies=(
            ds.SoftBody(
                "block",
                ds.Box((0.08, 0.07, 0.06)),
                (0.4, 0.4, 0.08),
                material=material,
                particles=60,
                velocity=(0.3, 0.1, -0.5),
            ),
        ),
        tools=(
            ds.Tool("ball", ds.Sphere(0.06), (0.4, 0.42, 0.19), control=("x", "y", "z"), friction=0.4),
            ds.Tool(
                "rod",
                ds.Capsule(0.08, 0.03),
                (0.3, 0.4, 0.1),
                rotation=(0.9, 0.3, 0.2, 0.1),
                control=("x", "y", "z", "rx", "ry", "rz"),
            ),
        ),
        obstacles=(
            ds.Obstacle("stop", ds.Box((0.05, 0.2, 0.1), rounding=0.045), (0.53, 0.4, 0.1), rotation=(0.95, 0.1, 0.1, 0.2)),
        ),
        upper=(0.8, 0.8, 0.5),
        grid_spacing=1 / 24,
    )


def free_scene(material: ds.Material, *, gravity=(0.0, 0.0, 0.0), particles: int = 60, **body) -> ds.Scene:
    """One block in the middle of an empty domain."""
    return ds.Scene(
        soft_bodies=(
            ds.SoftBody("block", ds.Box((0.09, 0.07, 0.06)), (0.5, 0.5, 0.5), material=material, particles=particles, **body),
        ),
        ground=None,
        grid_spacing=1 / 24,
        gravity=gravity,
    )


def random_state(sim: ds.Simulator, *, seed: int = 0, strain: float = 0.05) -> ds.State:
    """The scene's first state with random deformation and affine velocity."""
    generator = torch.Generator().manual_seed(seed)
    state = sim.reset()

    def noise() -> torch.Tensor:
        return torch.randn(state.F.shape, dtype=sim.dtype, generator=generator)

    return state.replace(F=state.F + strain * noise(), C=noise())
