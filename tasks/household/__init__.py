"""Household things: doors, hammers, blocks, ropes, sheets, liquids."""

from tasks.household.basketball import Basketball
from tasks.household.cut_into_parts import CutIntoParts
from tasks.household.fold_sheet import FoldSheet
from tasks.household.gather_pieces import GatherPieces
from tasks.household.hammer_nail import HammerNail
from tasks.household.one_block_push import OneBlockPush
from tasks.household.open_door import OpenDoor
from tasks.household.pour_liquid import PourLiquid
from tasks.household.rod_turn import RodTurn
from tasks.household.rope_round_peg import RopeRoundPeg
from tasks.household.scoop_sand import ScoopSand
from tasks.household.stick_pull import StickPull
from tasks.household.transport_liquid import TransportLiquid
from tasks.household.two_block_push import TwoBlockPush

__all__ = [
    "Basketball",
    "CutIntoParts",
    "FoldSheet",
    "GatherPieces",
    "HammerNail",
    "OneBlockPush",
    "OpenDoor",
    "PourLiquid",
    "RodTurn",
    "RopeRoundPeg",
    "ScoopSand",
    "StickPull",
    "TransportLiquid",
    "TwoBlockPush",
]
