"""The pure heart: no I/O, no clock, no randomness. Messages in, messages out.

Read in the order of the floors: update, clock, hlc, messages, wire, log, scuttlebutt, slots,
session, link.
"""
