"""Closed-form environments: fast problems with known solutions, to test an optimiser on."""
