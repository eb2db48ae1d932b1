"""Tasks of a Franka Panda: place, insert, open, grasp."""

from tasks.panda.panda_drawer import PandaDrawer
from tasks.panda.panda_peg_insertion import PandaPegInsertion
from tasks.panda.panda_soft_grasp import PandaSoftGrasp

__all__ = ["PandaDrawer", "PandaPegInsertion", "PandaSoftGrasp"]
