"""The six tasks of Rewarped (Xing et al., ICLR 2025), rebuilt, with rewards that compare with its published returns."""

from tasks.rewarped.fluid_move import FluidMove
from tasks.rewarped.hand_flip import HandFlip
from tasks.rewarped.rolling_flat import RollingFlat

__all__ = ["FluidMove", "HandFlip", "RollingFlat"]
