"""Bound on the sources of a model, and what happens near it (I7).

Each life of a node, each npm id and each program that ever wrote is a source in the clock, and none
leaves it again. Two clocks, of what is held and of the floor, must fit in a frame. So every door
that adds a source looks first, and those through which most of them come close before the others:
a daemon that needs another life (I5) must find a place in a model full of what is long gone.
"""

from collections.abc import Mapping
from typing import NamedTuple

from scuttled.errors import Refused, TooManySources
from scuttled.replica.hlc import Author
from scuttled.replica.update import Source
from scuttled.replica.version_vector import Clock

SOURCES_MAX = 20_000  # for a member's life, and for what peers tell
GUEST_SOURCES_MAX = 18_000  # for programs of the library, which may be somebody new at each start
BRIDGED_SOURCES_MAX = 15_000  # for the peers of a bridge: npm draws an id at each page load
SOURCES_MANY = SOURCES_MAX // 2  # from here on it is told

GUEST_HINT = "an author that stays the same from start to start is one source: docs/library.md"


def check_sources(count: int, model: str) -> None:
    """Raises TooManySources at more of them than a clock can have."""
    if count > SOURCES_MAX:
        raise TooManySources(model, _too_many(count, model))


def check_together(one: Clock, other: Mapping[Source, int], model: str) -> None:
    """The same for two clocks that are to become one."""
    if len(one) + len(other) > SOURCES_MAX:
        new = sum(not one[source] for source in other)
        check_sources(len(one) + new if new else 0, model)


def has_room(clock: Clock, author: Author) -> bool:
    """True if an author may write: as one of the sources, or as a new one."""
    return clock[author.source] > 0 or len(clock) < _most_for(author)


def check_author(clock: Clock, author: Author, model: str) -> None:
    """Raises Refused if who writes would be a source too many."""
    if not has_room(clock, author):
        raise _no_room(model, _most_for(author), author)


def check_bridged(clock: Clock, author: Author, model: str) -> None:
    """Raises Refused if there is no room for one more who writes through a bridge."""
    if len(clock) >= BRIDGED_SOURCES_MAX:
        raise _no_room(model, BRIDGED_SOURCES_MAX, author)


def _most_for(author: Author) -> int:
    return GUEST_SOURCES_MAX if author.is_guest else SOURCES_MAX


def _no_room(model: str, most: int, author: Author) -> Refused:
    move = f"scuttled -m {model} export F && scuttled -m OTHER import F"
    words = f"model '{model}' has {most:,} sources, so there can be no new one"
    return Refused(words, hint=GUEST_HINT if author.is_guest else move)


def overfull(clock: Clock, model: str) -> str:
    """Why no peer can be told of a model; "" if that is not so.

    It only comes to that by a database or file of a version that did not look.
    """
    return _too_many(len(clock), model) if len(clock) > SOURCES_MAX else ""


class Crowding(NamedTuple):
    """Distance of a model to the bound."""

    step: str  # many, bridged, full, over: each changes what can be done with it
    words: str


def crowding(clock: Clock, model: str, author: Author) -> Crowding | None:
    """From half of the bound on."""
    count = len(clock)
    if count < SOURCES_MANY:
        return None
    words = f"model {model} has {count:,} sources of at most {SOURCES_MAX:,}"
    if count > SOURCES_MAX:
        return Crowding("over", f"{words}: it is exchanged with no peer")
    if not has_room(clock, author):
        return Crowding("full", f"{words}: this node can't write to it")
    if count >= BRIDGED_SOURCES_MAX:
        return Crowding("bridged", f"{words}: npm peers with new ids are left out")
    most = "each npm id, program and life of a node that ever wrote is one"
    return Crowding("many", f"{words}: {most}")


def _too_many(count: int, model: str) -> str:
    return f"{count} sources in the model '{model}', at most {SOURCES_MAX}"
