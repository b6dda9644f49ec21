"""Replicas that pull from each other all that the other has."""

from typing import Any

from scuttled.replica.hlc import Author
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.update import NodeId, Stamp, stamp

EVER = Stamp(stamp(2**62))


def author(number: int) -> Author:
    """All have the same wall clock, which stands still: only the hlc tells times apart."""
    return Author(NodeId(bytes([number + 1]) * 8), now_ms=lambda: 1)


def pull(here: Scuttlebutt, there: Scuttlebutt) -> None:
    """All that is there, and the word that this is all."""
    here.receive([(u.source, [u.record]) for u in there.history(here.clock)], EVER)
    here.commit(there.clock.items())


def pull_all(models: list[Any]) -> None:
    for _ in models:
        for here in models:
            for there in models:
                pull(here, there)
