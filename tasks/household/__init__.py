"""Household things: doors, hammers, blocks, ropes, sheets, liquids."""

from tasks.household.gather_pieces import GatherPieces
from tasks.household.open_door import OpenDoor
from tasks.household.rod_turn import RodTurn
from tasks.household.two_block_push import TwoBlockPush

__all__ = ["GatherPieces", "OpenDoor", "RodTurn", "TwoBlockPush"]
