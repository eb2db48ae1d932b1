"""Household things: doors, hammers, blocks, ropes, sheets, liquids."""

from tasks.household.cut_into_parts import CutIntoParts
from tasks.household.gather_pieces import GatherPieces
from tasks.household.pour_liquid import PourLiquid
from tasks.household.rope_round_peg import RopeRoundPeg

__all__ = ["CutIntoParts", "GatherPieces", "PourLiquid", "RopeRoundPeg"]
