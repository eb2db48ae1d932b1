"""The tasks of the papers on the Reparameterized Policy Gradient (Huang et al. 2023), rebuilt on particles and rigid bodies."""

from tasks.rpg_papers.box_pick import BoxPick
from tasks.rpg_papers.cut_bar import CutBar
from tasks.rpg_papers.move1 import Move1
from tasks.rpg_papers.move2 import Move2
from tasks.rpg_papers.move3 import Move3
from tasks.rpg_papers.pick3 import Pick3
from tasks.rpg_papers.push1 import Push1
from tasks.rpg_papers.push2 import Push2
from tasks.rpg_papers.rope_push import RopePush
from tasks.rpg_papers.tripush import Tripush

__all__ = ["BoxPick", "CutBar", "Move1", "Move2", "Move3", "Pick3", "Push1", "Push2", "RopePush", "Tripush"]
