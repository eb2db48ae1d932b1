"""The six tasks of Rewarped (Xing et al., ICLR 2025), rebuilt, with rewards that compare with its published returns."""

from tasks.rewarped.ant_run import AntRun
from tasks.rewarped.fluid_move import FluidMove
from tasks.rewarped.hand_flip import HandFlip
from tasks.rewarped.hand_reorient import HandReorient
from tasks.rewarped.rolling_flat import RollingFlat
from tasks.rewarped.soft_jumper import SoftJumper

__all__ = ["AntRun", "FluidMove", "HandFlip", "HandReorient", "RollingFlat", "SoftJumper"]
