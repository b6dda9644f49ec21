"""Operations on the cluster and the daemon itself."""

import math
import os
from typing import Any

from scuttled.control.conditions import Condition, KeyIs, PeersUp, Synced
from scuttled.control.member_rows import member_rows
from scuttled.control.results import (
    Answer,
    Fields,
    Operations,
    Waiting,
    flag,
    model_list,
    number,
    text,
)
from scuttled.errors import Refused, TimedOut, UsageError
from scuttled.models.map import key_slot
from scuttled.node.consistency import Finding
from scuttled.node.membership import FRESH_MS, Member
from scuttled.node.node import DEFAULT_MODEL
from scuttled.protocol.link import Link
from scuttled.protocol.session import Session
from scuttled.replica.slots import Slots
from scuttled.replica.update import Instant
from scuttled.units import format_duration

WAIT_MS_MAX = 7 * 86_400_000
VERIFY_MS = 30_000  # for peers to answer, if nothing is said
VERIFY_AHEAD_MS = 60_000  # what expires so soon is not compared: one clock may be ahead
JOIN_MS_MAX = 3_600_000  # for peers that were joined to come up
ID_CHARS_MIN = 4  # of a node's id, to name it


class ClusterOperations(Operations):
    def op_peers(self, request: Fields, now: Instant) -> Answer:
        return Answer({"peers": self.daemon.peers(now)})

    def op_join(self, request: Fields, now: Instant) -> Answer | Waiting:
        addresses = _addresses(request, "join")
        wait_s = number(request, "wait_ms", 0, JOIN_MS_MAX) / 1000
        done = self.daemon.join(addresses, flag(request, "save"))

        def answer(_: Instant) -> dict[str, Any]:
            return {**done, "peers": self.daemon.verdicts(addresses)}

        if not wait_s:
            return Answer(done)
        return Waiting(
            lambda _: self.daemon.decided(addresses), answer, None, now.mono_s + wait_s, answer
        )

    def op_part(self, request: Fields, now: Instant) -> Answer:
        return Answer(self.daemon.part(_addresses(request, "part")))

    def op_leave(self, request: Fields, now: Instant) -> Answer:
        return Answer({"peers": self.daemon.leave()})

    def op_status(self, request: Fields, now: Instant) -> Answer:
        models = model_list(self.node)
        sums = {what: sum(m[what] for m in models) for what in ("keys", "tombstones", "bytes")}
        return Answer({**self.daemon.facts(now), "models": models, **sums, "pid": os.getpid()})

    def op_config(self, request: Fields, now: Instant) -> Answer:
        names = ("key", "value", "origin")
        settings = [dict(zip(names, row, strict=True)) for row in self.daemon.settings()]
        return Answer({"settings": settings})

    def op_wait(self, request: Fields, now: Instant) -> Waiting:
        conditions: list[Condition] = []
        peers = number(request, "peers", 0)
        if peers:
            conditions.append(PeersUp(self.node, self.daemon, peers))
        if flag(request, "synced"):
            conditions.append(Synced(self.node, self.daemon))
        key = text(request, "key", "")
        model = text(request, "model", DEFAULT_MODEL)
        wanted = request.get("value")
        if isinstance(wanted, str):
            wanted = wanted.encode("utf-8", "surrogateescape")
        if not isinstance(wanted, bytes | None):
            raise UsageError(f"value {wanted!r:.60}, expected text or bytes")
        if key:
            key_slot(key)
            conditions.append(KeyIs(self.node, model, key, wanted))
        if not conditions:
            raise UsageError("wait for what? peers, synced or key")
        return _waiting(conditions, request, now)

    # --- members ---

    def op_members(self, request: Fields, now: Instant) -> Answer:
        return Answer({"members": member_rows(self.node, now.wall_ms)})

    def op_forget(self, request: Fields, now: Instant) -> Answer:
        self.node.check_writable()
        member = self._member(text(request, "node"))
        name = member.name or member.node_id.hex()
        if member.node_id == self.node.author.node_id:
            raise Refused("this node is not forgotten by itself: scuttled leave stops it")
        if member.node_id in self.node.links:
            raise Refused(f"{name} is linked with this node: it is not gone")
        silent_ms = now.wall_ms - member.seen_ms
        if silent_ms < FRESH_MS:
            raise Refused(
                f"{name} was there {format_duration(silent_ms / 1000)} ago, by what others say: "
                f"it can be forgotten when it was silent for {FRESH_MS // 1000} s"
            )
        self.node.members.forget(member.node_id, now.wall_ms)
        rows = self.node.members.model
        self.node.accepted(rows)
        return Answer({"node": member.node_id.hex(), "name": member.name}, (rows, rows.log.end))

    def _member(self, asked: str) -> Member:
        """By its name, its id, or the beginning of that."""
        listed = [member for member in self.node.members.known.values() if member.listed]
        found = [member for member in listed if asked in (member.name, member.node_id.hex())]
        if not found and len(asked) >= ID_CHARS_MIN:
            found = [member for member in listed if member.node_id.hex().startswith(asked)]
        if not found:
            raise Refused(f"no member '{asked:.80}'", hint="scuttled members")
        if len(found) > 1:
            ids = ", ".join(member.node_id.hex() for member in found)
            raise Refused(f"'{asked:.80}' is more than one member: {ids}")
        return found[0]

    # --- verify ---

    def op_verify(self, request: Fields, now: Instant) -> Answer | Waiting:
        """Compare with every linked peer; or, with `repair`, have all sent both ways."""
        name = text(request, "model", "")
        if name:
            self.node.model(name)
        chosen = [m for m in self.node.user_models() if m.name == name or not name]
        models = [model for model in chosen if isinstance(model, Slots)]
        wait_s = number(request, "wait_ms", VERIFY_MS, WAIT_MS_MAX) / 1000
        deadline_s = now.mono_s + wait_s
        if flag(request, "repair"):
            return self._repair(models, deadline_s)
        verifier = self.node.verifier
        check = verifier.begin(models, now.wall_ms + VERIFY_AHEAD_MS)

        def found(_: Instant) -> dict[str, Any]:
            verifier.end(check)
            return {"findings": [_finding(finding) for finding in check.findings.values()]}

        return Waiting(lambda _: check.done, found, None, deadline_s, found)

    def _repair(self, models: list[Slots], deadline_s: float) -> Waiting:
        """Have all sent both ways, whatever the clocks say; answered when all has come."""
        restarted: list[tuple[Link, Session, int]] = []
        for link in self.node.links.values():
            for model in models:
                session = link.sessions.get(model.name)
                if session is not None and session.open:
                    restarted.append((link, session, session.round))
                    link.send_whole(model.name)
        facts = {"peers": len(self.node.links)}

        def holds(_: Instant) -> bool:
            return all(
                link.ended is not None
                or (session.round > before and session.complete and session.synced)
                for link, session, before in restarted
            )

        def late(_: Instant) -> dict[str, Any]:
            raise TimedOut("not all was exchanged in time; it goes on")

        return Waiting(holds, lambda _: facts, None, deadline_s, late)


def _addresses(request: Fields, op: str) -> list[str]:
    addresses = request.get("addresses")
    if not isinstance(addresses, list) or not all(isinstance(a, str) for a in addresses):
        raise UsageError(f"{op} wants addresses: [text, ...]")
    return list(dict.fromkeys(addresses))


def _waiting(conditions: list[Condition], request: Fields, now: Instant) -> Waiting:
    """Answered when all hold; after `wait_ms`, if it is given, with what is missing."""
    wait_ms = number(request, "wait_ms", 0, WAIT_MS_MAX)

    def late(at: Instant) -> dict[str, Any]:
        missing = [condition.missing(at) for condition in conditions if not condition.holds(at)]
        raise TimedOut("; ".join(missing) or "all that was waited for holds by now")

    return Waiting(
        holds=lambda at: all(condition.holds(at) for condition in conditions),
        deadline_s=now.mono_s + wait_ms / 1000 if wait_ms else math.inf,
        late=late,
    )


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "model": finding.model,
        "node": finding.node_id.hex(),
        "name": finding.peer,
        "state": finding.state,
        "keys": finding.keys,
        "more": finding.more,
    }
