"""The state of one node: version vectors, arrival logs, slots. No I/O, no clock, no randomness.

Read in this order: `update`, `version_vector`, `hlc`, `arrival_log`, `scuttlebutt`, `slots`.
Nothing in here knows that there are peers.
"""
