"""The six tasks of Rewarped (Xing et al., ICLR 2025), rebuilt, with rewards that compare with its published returns."""

from tasks.rewarped.ant_run import AntRun
from tasks.rewarped.hand_reorient import HandReorient

__all__ = ["AntRun", "HandReorient"]
