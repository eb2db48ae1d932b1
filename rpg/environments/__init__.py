"""Closed-form environments: problems small enough to know the answer, and fast enough to try an optimiser on."""
