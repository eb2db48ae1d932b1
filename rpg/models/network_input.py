"""What the networks of a streaming algorithm see: the observation as one vector, and the time where values depend on it."""

import torch
from torch import Tensor, nn

from rpg.models.network import RunningNormalizer
from rpg.protocol import Box, EnvironmentSpec, Observation, flat_size, flattened
from rpg.settings_checks import SettingError


class NetworkInput(nn.Module):
    """(N, W) from observations (N, *shape) and ages (N,): the joined observation, normalised by running statistics if
    `normalize` is given, then, in an environment with a finite horizon T, the age from -1 at 0 to 1 at T. Images stay bytes
    (N, H, W, C), which an encoder normalises; they may also come as rows (N, H W C).

    Raises SettingError where images should be normalised, or go with a finite horizon.
    """

    def __init__(self, spec: EnvironmentSpec, *, normalize: bool) -> None:
        super().__init__()
        size, seen = flat_size(spec.observation), spec.observation
        self.image = seen.shape if isinstance(seen, Box) and seen.is_image else None
        """(H, W, C) of images."""
        if self.image is not None and normalize:
            raise SettingError("normalize_observations was given True; allowed with images is False: the encoder scales them")
        if self.image is not None and spec.finite_horizon:
            raise SettingError(
                "images were given with a finite horizon; allowed are environments whose time limit only truncates"
            )
        self.normalizer = RunningNormalizer(size) if normalize else None
        self.horizon = spec.time_limit if spec.finite_horizon else None
        self.width = size + int(self.horizon is not None)
        """W."""

    def forward(self, observation: Observation, age: Tensor) -> Tensor:
        if self.image is not None:
            assert isinstance(observation, Tensor)
            return observation.reshape(-1, *self.image)
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
