"""Links to peers over streams: who dials, and what is pumped through (trio)."""
