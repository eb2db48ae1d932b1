"""Random numbers of an episode's start."""

import torch


def episode_generator(seed: int | None) -> torch.Generator:
    """A generator with that seed, or with one that nobody chose."""
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator
