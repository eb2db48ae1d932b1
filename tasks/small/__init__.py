"""Four small tasks with several solutions each, on which a run takes a minute."""

from tasks.small.cup_trap import CupTrap
from tasks.small.detour import Detour
from tasks.small.three_way_push import ThreeWayPush
from tasks.small.triple_move import TripleMove

__all__ = ["CupTrap", "Detour", "ThreeWayPush", "TripleMove"]
