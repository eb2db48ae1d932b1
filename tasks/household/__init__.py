"""Household things: doors, hammers, blocks, ropes, sheets, liquids."""

from tasks.household.gather_pieces import GatherPieces

__all__ = ["GatherPieces"]
