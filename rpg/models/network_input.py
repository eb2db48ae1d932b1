"""What the networks of a streaming algorithm see: the observation as one vector, and the time where values depend on it."""

import torch
from torch import Tensor, nn

from rpg.models.network import RunningNormalizer
from rpg.protocol import EnvironmentSpec, Observation, flat_size, flattened


class NetworkInput(nn.Module):
    """(N, W) from observations (N, *shape) and ages (N,): the joined observation, normalised by running statistics if
    `normalize` is given, then, in an environment with a finite horizon T, the age from -1 at 0 to 1 at T.
    """

    def __init__(self, spec: EnvironmentSpec, *, normalize: bool) -> None:
        super().__init__()
        size = flat_size(spec.observation)
        self.normalizer = RunningNormalizer(size) if normalize else None
        self.horizon = spec.time_limit if spec.finite_horizon else None
        self.width = size + int(self.horizon is not None)
        """W."""

    def forward(self, observation: Observation, age: Tensor) -> Tensor:
        seen = flattened(observation)
        if self.normalizer is not None:
            seen = self.normalizer(seen)
        if self.horizon is None:
            return seen
        return torch.cat([seen, (2 * age / self.horizon - 1).to(seen).unsqueeze(1)], dim=1)

    def observe(self, observation: Observation) -> None:
        """Update the statistics."""
        if self.normalizer is not None:
            self.normalizer.update(flattened(observation))
