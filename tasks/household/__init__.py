"""Household things: doors, hammers, blocks, ropes, sheets, liquids."""
