"""Constraints to byte-level automaton states to mask rows. numpy and numba: no torch, no HTTP."""
