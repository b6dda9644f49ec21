"""Conditions that `wait` waits for: whether each holds by now, and who or what is missing."""

from collections.abc import Iterator
from typing import Any, Protocol

from scuttled.control.context import DaemonDoor
from scuttled.control.member_rows import state_of
from scuttled.models.map import Map
from scuttled.node.membership import Member
from scuttled.node.node import Node
from scuttled.protocol.link import Link
from scuttled.replica.update import Instant

NAMED_MAX = 5  # of those that are missing; the rest is counted
VALUE_CHARS = 60  # of a value that is another one
STATE_WORDS = {"never": "not yet reached", "connecting": "being dialled"}


class Condition(Protocol):
    """One thing that is waited for."""

    def holds(self, now: Instant) -> bool: ...

    def missing(self, now: Instant) -> str:
        """All that is missing, and at whom, for people; asked while it does not hold."""
        ...


class PeersUp:
    """So many peers are linked."""

    def __init__(self, node: Node, daemon: DaemonDoor, wanted: int) -> None:
        self.node = node
        self.daemon = daemon
        self.wanted = wanted

    def holds(self, now: Instant) -> bool:
        return len(self.node.links) >= self.wanted

    def missing(self, now: Instant) -> str:
        up = len(self.node.links)
        words = f"{_counted(up, 'peer')} up, waited for {self.wanted}"
        others = _listed(_peers_not_up(self.daemon, now))
        return f"{words}: {others}" if others else words


class KeyIs:
    """A key is there, with a value if one is named."""

    def __init__(self, node: Node, model: str, key: str, wanted: bytes | None) -> None:
        self.node = node
        self.model = model
        self.key = key
        self.wanted = wanted

    def holds(self, now: Instant) -> bool:
        found = self._found(now)
        return found is not None and (self.wanted is None or found == self.wanted)

    def _found(self, now: Instant) -> bytes | None:
        model = self.node.models.get(self.model)
        found = model.find(self.key, now.wall_ms) if isinstance(model, Map) else None
        return found.payload if found is not None else None

    def missing(self, now: Instant) -> str:
        model = self.node.models.get(self.model)
        found = self._found(now)
        if model is None:
            return f"there is no model '{self.model:.80}'"
        if not isinstance(model, Map):
            return f"model '{self.model}' is a {model.data_type}, not a map"
        if found is None:
            return f"there is no key '{self.key:.200}' in model {self.model}"
        seen = found.decode("utf-8", "backslashreplace")
        return f"key '{self.key:.200}' is '{seen:.{VALUE_CHARS}}'"


class Synced:
    """Every configured peer is linked; each link has all from both its ends, on disk; and who
    is there but not linked has, by its row, what this node has now.
    """

    def __init__(self, node: Node, daemon: DaemonDoor) -> None:
        self.node = node
        self.daemon = daemon
        self._aim()

    def _aim(self) -> None:
        """At all that this node has now, in this life."""
        self._source = self.node.author.source
        models = list(self.node.user_models())
        self._held = {model.name: list(model.clock.items()) for model in models}
        for model in models:
            self.node.hurry(model)

    def holds(self, now: Instant) -> bool:
        return next(self._lacking(now), None) is None

    def missing(self, now: Instant) -> str:
        return _listed(list(self._lacking(now)))

    def _lacking(self, now: Instant) -> Iterator[str]:
        if self._source != self.node.author.source:  # a future was taken back, or a RESET came
            self._aim()
        if why := self.node.time.future:
            yield why
        yield from _peers_not_up(self.daemon, now)
        for model in self.node.user_models():
            if not model.is_saved:
                yield f"model {model.name} is not yet on disk here"
        for link in self.node.links.values():
            yield from _lacking_on(link)
        for member in self.node.members.others(now.wall_ms):
            if state_of(self.node, member, now.wall_ms) == "seen":
                yield from self._lacking_at(member)

    def _lacking_at(self, member: Member) -> Iterator[str]:
        for model, times in self._held.items():
            if not all(member.covers(model, source, time) for source, time in times):
                who = member.name or member.node_id.hex()
                yield f"{who}, which is not linked with this node, does not have all of {model}"
                return


def _lacking_on(link: Link) -> Iterator[str]:
    """Updates under way on a link, either way. Rows of members are never still, and left out."""
    assert link.peer is not None
    who = link.peer.name
    for name, why in link.stopped.items():
        yield f"model {name} is stopped with {who}: {why}"
    for session in link.sessions.values():
        name = session.model.name
        if session.model.is_system or session.synced or name in link.stopped:
            continue
        if session.future:
            yield f"updates of {name} by {who} are stamped too far in the future"
        elif session.open and session.lag:
            yield f"{who} has not acknowledged {_counted(session.lag, 'update')} of {name}"
        else:
            yield f"{name} is being compared with {who}"


def _peers_not_up(daemon: DaemonDoor, now: Instant) -> list[str]:
    return [_peer_words(peer) for peer in daemon.peers(now) if peer["state"] not in ("up", "self")]


def _peer_words(peer: dict[str, Any]) -> str:
    state = STATE_WORDS.get(peer["state"], peer["state"])
    words = f"{peer['name'] or peer['address']} is {state}"
    return f"{words} ({peer['reason']})" if peer["reason"] else words


def _listed(words: list[str]) -> str:
    more = len(words) - NAMED_MAX
    return ", ".join(words[:NAMED_MAX]) + (f", and {more} more" if more > 0 else "")


def _counted(count: int, what: str) -> str:
    """`1 update`, `20 updates`."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
