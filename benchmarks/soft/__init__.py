"""Implementations of one soft-body problem, side by side: ours, the textbook's and Warp's."""
