"""Identify a material from an observed motion, by gradient through the simulator.

    python examples/identify_material.py    # prints the parameters found, writes identify_material.png

A block of clay is thrown on the floor: it yields, slides and rebounds. Twenty markers on it are observed after each control
step, with noise. From a wrong guess of stiffness, Poisson's ratio, yield stress and friction, L-BFGS fits the simulated markers
to the observed ones. Density is taken as known: only the stresses' ratio to it shows in a motion without measured forces.
It takes about 20 s on one core.
"""

import argparse
import sys

import torch

import diffsim as ds
from diffsim.render import Camera, SceneRenderer, caption, side_by_side, write_png

TRUE = {"clay.youngs_modulus": 2e4, "clay.poissons_ratio": 0.3, "clay.yield_stress": 4e3, "ground.friction": 0.3}
GUESS = {"clay.youngs_modulus": 8e3, "clay.poissons_ratio": 0.15, "clay.yield_stress": 1e4, "ground.friction": 0.6}
MARKERS, STEPS, NOISE, TOLERANCE = 20, 15, 5e-4, 0.02  # noise: standard deviation in metres, on every coordinate


def simulator(values: dict[str, float], dtype: torch.dtype) -> ds.Simulator:
    """The experiment with a material: the real one, or the model's."""
    clay = ds.ElastoPlastic(
        values["clay.youngs_modulus"], values["clay.poissons_ratio"], yield_stress=values["clay.yield_stress"]
    )
    block = ds.SoftBody("clay", ds.Box((0.06, 0.06, 0.1)), (0.3, 0.3, 0.105), material=clay, velocity=(1, 0, -2), particles=200)
    scene = ds.Scene((block,), ground=ds.Ground(friction=values["ground.friction"]), upper=(0.8, 0.6, 0.5), grid_spacing=0.04)
    return ds.Simulator(scene, dt=2e-3, substeps=10, dtype=dtype)


def markers(sim: ds.Simulator, parameters: dict[str, torch.Tensor] | None = None) -> torch.Tensor:
    """Positions of the markers after each control step, (STEPS, MARKERS, 3)."""
    chosen = torch.linspace(0, sim.num_particles - 1, MARKERS).long()
    states = sim.rollout(sim.reset(), torch.zeros(STEPS, 1, 0, dtype=sim.dtype), parameters)
    return torch.stack([state.x[0, chosen] for state in states[1:]])


def to_free(values: dict[str, float], dtype: torch.dtype) -> torch.Tensor:
    """Unbounded numbers for the optimiser: logarithms; of nu / (1 - 2 nu) for Poisson's ratio nu, to keep it in (0, 0.5)."""
    positive = [value / (1.0 - 2.0 * value) if "poisson" in name else value for name, value in values.items()]
    return torch.tensor(positive, dtype=dtype).log()


def to_parameters(free: torch.Tensor) -> dict[str, torch.Tensor]:
    """The inverse of `to_free`."""
    positive = zip(TRUE, free.exp(), strict=True)
    return {name: value / (1.0 + 2.0 * value) if "poisson" in name else value for name, value in positive}


def identify(iterations: int = 40, noise: float = NOISE, seed: int = 0, dtype: torch.dtype = torch.float64) -> dict[str, float]:
    """The parameters found, from GUESS and the observed motion of a block with those of TRUE.

    L-BFGS takes about 30 rollouts to the noise's floor; fewer ``iterations`` leave it short of that.
    """
    generator = torch.Generator().manual_seed(seed)
    observed = markers(simulator(TRUE, dtype))
    observed = observed + noise * torch.randn(observed.shape, dtype=dtype, generator=generator)

    model = simulator(GUESS, dtype)
    free = to_free(GUESS, dtype).requires_grad_()
    optimizer = torch.optim.LBFGS([free], max_iter=iterations, line_search_fn="strong_wolfe")
    distances = []

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        error = (markers(model, to_parameters(free)) - observed).square().sum(dim=-1).mean()
        distances.append(error.item() ** 0.5)
        print(f"rollout {len(distances):3d}  root mean square distance to the observed markers {1e3 * distances[-1]:8.3f} mm")
        scaled = 1e4 * error  # in cm^2, so that L-BFGS's absolute tolerances suit
        scaled.backward()  # through all substeps: contact, friction and plastic flow included
        return scaled

    optimizer.step(loss)
    return {name: value.item() for name, value in to_parameters(free.detach()).items()}


def draw(path: str, **experiments: dict[str, float]) -> None:
    """The block at the end of the throw, with the parameters of each experiment."""
    camera, pictures = Camera(position=(0.6, -0.75, 0.4), target=(0.55, 0.3, 0.06), vertical_fov_degrees=28), []
    for name, values in experiments.items():
        sim = simulator(values, torch.float64)
        states = sim.rollout(sim.reset(), torch.zeros(STEPS, 1, 0, dtype=sim.dtype))
        pictures.append(caption(SceneRenderer(sim.scene, camera=camera, width=360, height=270).frame(states[-1]), name))
    write_png(path, side_by_side(pictures))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=40, help="of L-BFGS, at most")
    parser.add_argument("--picture", default="identify_material.png")
    options = parser.parse_args(argv)

    found = identify(options.iterations)
    print(f"\n{'parameter':22s} {'true':>10s} {'guess':>10s} {'found':>10s}   error")
    errors = {name: abs(found[name] / true - 1.0) for name, true in TRUE.items()}
    for name, true in TRUE.items():
        print(f"{name:22s} {true:10.4g} {GUESS[name]:10.4g} {found[name]:10.4g} {errors[name]:7.2%}")
    missed = [name for name, error in errors.items() if error > TOLERANCE]
    print(f"not within {TOLERANCE:.0%}: {', '.join(missed)}" if missed else f"all within {TOLERANCE:.0%}")
    draw(options.picture, true=TRUE, guess=GUESS, found=found)
    print(f"wrote {options.picture}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
