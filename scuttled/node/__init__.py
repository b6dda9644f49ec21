"""The doorway between a daemon's models and everything around them. Pure: time is handed in.

`node` is the doorway through which every update passes (I6), `durability` what of it is on disk;
`membership` and `consistency` are what it knows of the others; `timekeeping`, `future` and `leases`
deal with clocks that are wrong.
"""
