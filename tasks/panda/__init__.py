"""Tasks of a Franka Panda: place, insert, open, grasp."""

from tasks.panda.panda_cabinet import PandaCabinet
from tasks.panda.panda_drawer import PandaDrawer
from tasks.panda.panda_peg_insertion import PandaPegInsertion
from tasks.panda.panda_pick_place import PandaPickPlace
from tasks.panda.panda_reach import PandaReach
from tasks.panda.panda_soft_grasp import PandaSoftGrasp

__all__ = ["PandaCabinet", "PandaDrawer", "PandaPegInsertion", "PandaPickPlace", "PandaReach", "PandaSoftGrasp"]
