"""Networks of pictures, which come as bytes."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from rpg.models.network import RunningNormalizer
from rpg.models.stacked_network import StackedNetwork
from rpg.settings_checks import SettingError

KERNELS = (7, 5, 3, 3)
"""Of the convolutions, as in the released code of model-based RPG; each has a stride of 2 and no padding."""
SMALLEST = 39
"""Pixels along an edge of which those leave one."""
THUMBNAIL = 16
"""Pixels along an edge of what novelty is judged by."""


class ImageEncoder(nn.Module):
    """(N, E) from images (N, H, W, C) of numbers 0 to 255: four convolutions, then a network with the widths `hidden`."""

    def __init__(self, shape: Sequence[int], channels: int, sizes: Sequence[int], *, generator: torch.Generator) -> None:
        """`shape` is (H, W, C), `channels` the width of the convolutions, `sizes` the hidden widths and E.

        Raises SettingError if the image is too small.
        """
        super().__init__()
        height, width, given = shape
        if min(height, width) < SMALLEST:
            raise SettingError(f"images of {height} x {width} pixels were given; allowed are {SMALLEST} x {SMALLEST} and more")
        for layer, (kernel, (fan_in, fan_out)) in enumerate(zip(KERNELS, pairwise((given, *[channels] * 4)), strict=True)):
            bound = 1 / math.sqrt(fan_in * kernel**2)
            for name, drawn in (("weight", (fan_out, fan_in, kernel, kernel)), ("bias", (fan_out,))):
                start = (2 * torch.rand(drawn, generator=generator) - 1) * bound
                self.register_parameter(f"{name}{layer}", nn.Parameter(start))
            height, width = ((size - kernel) // 2 + 1 for size in (height, width))
        self.network = StackedNetwork(1, (channels * height * width, *sizes), generator=generator, activation="silu")

    def alone(self, images: Tensor) -> Tensor:
        """(N, E); the name is that of `StackedNetwork`."""
        layers = [(getattr(self, f"weight{layer}"), getattr(self, f"bias{layer}")) for layer in range(len(KERNELS))]
        (first, bias), *rest = layers
        hidden = images.movedim(-1, 1).to(first)
        # of x / 255 - 1/2, but the few weights are scaled, not the many pixels
        layers = [(first / 255, bias - 0.5 * first.sum((1, 2, 3))), *rest]
        for weight, bias in layers:
            hidden = functional.silu(functional.conv2d(hidden, weight, bias, stride=2))
        return self.network.alone(hidden.flatten(1))


class Thumbnails(nn.Module):
    """(N, 256 C) from images (N, H, W, C): averaged to 16 x 16 pixels and normalised pixel by pixel, as random network
    distillation has it (Burda et al. 2019). What hardly ever changes counts for much when it does."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.width = THUMBNAIL**2 * channels
        self.normalizer = RunningNormalizer(self.width, limit=5.0)

    def forward(self, images: Tensor, *, learn: bool = False) -> Tensor:
        """With `learn` the images enter the statistics."""
        pixels = images.movedim(-1, 1).to(self.normalizer.mean)
        small = functional.adaptive_avg_pool2d(pixels, THUMBNAIL).flatten(1) / 255
        if learn:
            self.normalizer.update(small)
        return self.normalizer(small)


def check_image_settings(embedding: int, latent_hidden: Sequence[int]) -> None:
    """Raise SettingError if a setting of model-based RPG does not go with images."""
    if embedding > 0:
        given = f"embedding was given {embedding}"
        raise SettingError(f"{given}; allowed with images is 0, as there are no coordinates to embed")
    if latent_hidden:
        given = f"latent_hidden was given {latent_hidden}"
        raise SettingError(f"{given}; allowed with images is (), as pi(z|s_1) does not look at them")
