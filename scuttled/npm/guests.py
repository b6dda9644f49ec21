"""Table of npm peers: who is here, who left something behind, and whom we dial in vain.

npm draws an id at each load of a page, so most that come are never seen again. Of those that are
gone only the ones remain here that had something left out, or that we closed the door on.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scuttled.node.problems import Problem
from scuttled.npm.session import Talk
from scuttled.replica.update import Instant

GONE_MAX = 100  # that are remembered
GONE_TOLD_S = 3600.0  # for so long
LEFT_HINT = "scuttled peers says what was left out; docs: scuttled help npm"

UP = "npm"
GONE = "npm-gone"  # it had connected to us
DOWN = "npm-down"  # we dial it


@dataclass(slots=True)
class Guest:
    """One npm peer, in one conversation."""

    address: str
    target: str  # what it shares
    dialled: bool
    talk: Talk
    came: Instant
    left: Instant | None = None
    why: str = ""  # it left


@dataclass(slots=True)
class Dialled:
    """An address that we dial, again and again."""

    address: str
    target: str
    why: str = ""  # it could not be reached, the last time
    guest: Guest | None = None  # the conversation that is, or was the last

    @property
    def is_down(self) -> bool:
        return self.guest is None or self.guest.left is not None

    @property
    def words(self) -> str:
        """Why it is down."""
        return self.why or (self.guest.why if self.guest is not None else "it is being dialled")


@dataclass(slots=True)
class Guests:
    """All of them."""

    here: list[Guest] = field(default_factory=list)
    dialled: list[Dialled] = field(default_factory=list)
    _gone: OrderedDict[tuple[str, str], Guest] = field(default_factory=OrderedDict)

    def come(self, guest: Guest) -> None:
        self.here.append(guest)
        self._gone.pop(_key(guest), None)

    def go(self, guest: Guest, why: str, now: Instant, *, our_doing: bool) -> None:
        """Its conversation is over, by our doing if it said what it must not."""
        self.here.remove(guest)
        guest.left = now
        guest.why = why
        lost = guest.talk.left_out or guest.talk.not_sent
        if not guest.dialled and (our_doing or lost):
            self._gone[_key(guest)] = guest
            self._gone.move_to_end(_key(guest))
            while len(self._gone) > GONE_MAX:
                self._gone.popitem(last=False)

    def rows(self, now: Instant) -> list[dict[str, Any]]:
        """For `peers` and `status`."""
        down = [_dialled_row(dialled) for dialled in self.dialled if dialled.is_down]
        return [*map(_row, self.here), *down, *map(_row, self._told_of(now))]

    def problems(self, now: Instant) -> list[Problem]:
        """Problems: what an npm peer and this node don't have in common, though they should."""
        found = []
        for dialled in self.dialled:
            if dialled.is_down:
                words = f"npm peer {dialled.address} is not connected: {dialled.words}"
                found.append(Problem("npm", words, about=dialled.address))
        for guest in (*self.here, *self._told_of(now)):
            if words := left_out_words(guest.talk.left_out):
                who = guest.talk.peer or guest.address
                words = f"updates of npm peer {who}: {words}"
                found.append(Problem("npm-left-out", words, LEFT_HINT, about=who))
        return found

    def _told_of(self, now: Instant) -> list[Guest]:
        """Peers that are gone, and were here not long ago."""
        return [
            guest
            for guest in self._gone.values()
            if guest.left is not None and now.mono_s - guest.left.mono_s < GONE_TOLD_S
        ]


def _key(guest: Guest) -> tuple[str, str]:
    host = guest.address.rpartition(":")[0] or guest.address
    return guest.target, guest.talk.peer or host


def left_out_words(causes: Mapping[str, int], what: str = "left out") -> str:
    """`3 left out: an update from the future; 1 left out: ...`"""
    return "; ".join(f"{count} {what}: {why}" for why, count in causes.items())


def guest_words(talk: Talk) -> str:
    """Words for what did not pass, either way."""
    words = [left_out_words(talk.left_out), left_out_words(talk.not_sent, "not sent")]
    words += [f"part {part!r:.80} not sent: no npm peer uses it" for part in talk.bridge.untold()]
    return "; ".join(filter(None, words))


def _row(guest: Guest) -> dict[str, Any]:
    talk = guest.talk
    words = guest_words(talk)
    state = UP if guest.left is None else GONE
    if guest.left is not None:
        words = f"{guest.why}; {words}" if words else guest.why
    row = _blank(guest.address, state, words, guest.target, dialled=guest.dialled)
    seen = guest.left or talk.heard_at or guest.came
    row |= {"name": talk.peer, "seen_ms": seen.wall_ms}
    row["npm"] |= {
        "updates_in": talk.updates_in,
        "updates_out": talk.updates_out,
        "left_out": dict(talk.left_out),
        "not_sent": dict(talk.not_sent),
    }
    return row


def _dialled_row(dialled: Dialled) -> dict[str, Any]:
    if dialled.guest is None:
        return _blank(dialled.address, DOWN, dialled.words, dialled.target, dialled=True)
    row = _row(dialled.guest)
    row["state"] = DOWN
    if dialled.why:
        row["reason"] = dialled.why
    return row


def _blank(address: str, state: str, why: str, target: str, *, dialled: bool) -> dict[str, Any]:
    return {
        "node": "",
        "name": "",
        "address": address,
        "state": state,
        "rtt_ms": None,
        "lag": None,
        "lag_ms": None,
        "seen_ms": None,
        "version": "",
        "reason": why,
        "hint": "",
        "configured": address if dialled else "",
        "npm": {
            "model": target,
            "dialled": dialled,
            "updates_in": 0,
            "updates_out": 0,
            "left_out": {},
            "not_sent": {},
        },
    }
