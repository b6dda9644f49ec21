"""Operations on the cluster: its peers, its members, and what these hold."""

import math
from typing import Any, NamedTuple

from scuttled.control.conditions import Condition, KeyIs, PeersUp, Synced
from scuttled.control.context import Context
from scuttled.control.control_operation import NOTHING, UNPACED, NoFields, control_operation
from scuttled.control.fields import Fields, flag, number, text
from scuttled.control.member_rows import member_rows
from scuttled.control.results import Answer, Waiting
from scuttled.control.write_concern import WAIT_MS_MAX
from scuttled.errors import Refused, TimedOut, UsageError
from scuttled.models.map import key_slot
from scuttled.node.consistency import Finding
from scuttled.node.membership import FRESH_MS, Member
from scuttled.node.node import DEFAULT_MODEL, Node
from scuttled.protocol.link import Link
from scuttled.protocol.session import Session
from scuttled.replica.slots import Slots
from scuttled.replica.update import Instant
from scuttled.units import format_duration

VERIFY_MS = 30_000  # for peers to answer, if nothing is said
VERIFY_AHEAD_MS = 60_000  # what expires so soon is not compared: one clock may be ahead
JOIN_MS_MAX = 3_600_000  # for peers that were joined to come up
ID_CHARS_MIN = 4  # of a node's id, to name it


@control_operation(NoFields, writes=NOTHING)
def peers(context: Context, request: NoFields, now: Instant) -> Answer:
    return Answer({"peers": context.daemon.peers(now)})


class JoinRequest(NamedTuple):
    addresses: list[str]
    save: bool
    wait_ms: int  # 0: no time for peers to come up

    @classmethod
    def read(cls, fields: Fields) -> "JoinRequest":
        return cls(
            addresses=_read_addresses(fields, "join"),
            wait_ms=number(fields, "wait_ms", 0, JOIN_MS_MAX),
            save=flag(fields, "save"),
        )


@control_operation(JoinRequest, writes=NOTHING)
def join(context: Context, request: JoinRequest, now: Instant) -> Answer | Waiting:
    daemon = context.daemon
    addresses = request.addresses
    done = daemon.join(addresses, request.save)

    def answer(_: Instant) -> dict[str, Any]:
        return {**done, "peers": daemon.verdicts(addresses)}

    if not request.wait_ms:
        return Answer(done)
    return Waiting(
        holds=lambda _: daemon.decided(addresses),
        answer=answer,
        deadline_s=now.mono_s + request.wait_ms / 1000,
        late=answer,
    )


class PartRequest(NamedTuple):
    addresses: list[str]

    @classmethod
    def read(cls, fields: Fields) -> "PartRequest":
        return cls(_read_addresses(fields, "part"))


@control_operation(PartRequest, writes=NOTHING)
def part(context: Context, request: PartRequest, now: Instant) -> Answer:
    return Answer(context.daemon.part(request.addresses))


def _read_addresses(fields: Fields, op: str) -> list[str]:
    addresses = fields.get("addresses")
    if not isinstance(addresses, list) or not all(isinstance(a, str) for a in addresses):
        raise UsageError(f"{op} wants addresses: [text, ...]")
    return list(dict.fromkeys(addresses))


# --- wait ----------------------------------------------------------------------------------------


class WaitRequest(NamedTuple):
    peers: int  # 0: however many
    synced: bool
    key: str  # "": none
    model: str  # of the key
    value: bytes | None  # None: whatever its value
    wait_ms: int  # 0: for ever

    @classmethod
    def read(cls, fields: Fields) -> "WaitRequest":
        peers = number(fields, "peers", 0)
        synced = flag(fields, "synced")
        key = text(fields, "key", "")
        model = text(fields, "model", DEFAULT_MODEL)
        wanted = fields.get("value")
        if isinstance(wanted, str):
            wanted = wanted.encode("utf-8", "surrogateescape")
        if not isinstance(wanted, bytes | None):
            raise UsageError(f"value {wanted!r:.60}, expected text or bytes")
        if key:
            key_slot(key)
        if not (peers or synced or key):
            raise UsageError("wait for what? peers, synced or key")
        wait_ms = number(fields, "wait_ms", 0, WAIT_MS_MAX)
        return cls(peers, synced, key, model, wanted, wait_ms)


@control_operation(WaitRequest, writes=NOTHING)
def wait(context: Context, request: WaitRequest, now: Instant) -> Waiting:
    """Answered when all hold; after `wait_ms`, if it is given, with what is missing."""
    node = context.node
    daemon = context.daemon
    conditions: list[Condition] = []
    if request.peers:
        conditions.append(PeersUp(node, daemon, request.peers))
    if request.synced:
        conditions.append(Synced(node, daemon))
    if request.key:
        conditions.append(KeyIs(node, request.model, request.key, request.value))

    def late(at: Instant) -> dict[str, Any]:
        missing = [condition.missing(at) for condition in conditions if not condition.holds(at)]
        raise TimedOut("; ".join(missing) or "all that was waited for holds by now")

    return Waiting(
        holds=lambda at: all(condition.holds(at) for condition in conditions),
        deadline_s=now.mono_s + request.wait_ms / 1000 if request.wait_ms else math.inf,
        late=late,
    )


# --- members -------------------------------------------------------------------------------------


@control_operation(NoFields, writes=NOTHING)
def members(context: Context, request: NoFields, now: Instant) -> Answer:
    return Answer({"members": member_rows(context.node, now.wall_ms)})


class ForgetRequest(NamedTuple):
    node: str  # a name, an id, or the beginning of one

    @classmethod
    def read(cls, fields: Fields) -> "ForgetRequest":
        return cls(text(fields, "node"))


@control_operation(ForgetRequest, writes=UNPACED)
def forget(context: Context, request: ForgetRequest, now: Instant) -> Answer:
    node = context.node
    node.durability.check_writable()
    member = _member(node, request.node)
    name = member.name or member.node_id.hex()
    if member.node_id == node.author.node_id:
        raise Refused("this node is not forgotten by itself: scuttled leave stops it")
    if member.node_id in node.links:
        raise Refused(f"{name} is linked with this node: it is not gone")
    silent_ms = now.wall_ms - member.seen_ms
    if silent_ms < FRESH_MS:
        raise Refused(
            f"{name} was there {format_duration(silent_ms / 1000)} ago, by what others say: "
            f"it can be forgotten when it was silent for {FRESH_MS // 1000} s"
        )
    node.members.forget(member.node_id, now.wall_ms)
    rows = node.members.model
    node.accepted(rows)
    return Answer({"node": member.node_id.hex(), "name": member.name}, (rows, rows.log.end))


def _member(node: Node, asked: str) -> Member:
    """By its name, its id, or the beginning of that."""
    listed = [member for member in node.members.known.values() if member.listed]
    found = [member for member in listed if asked in (member.name, member.node_id.hex())]
    if not found and len(asked) >= ID_CHARS_MIN:
        found = [member for member in listed if member.node_id.hex().startswith(asked)]
    if not found:
        raise Refused(f"no member '{asked:.80}'", hint="scuttled members")
    if len(found) > 1:
        ids = ", ".join(member.node_id.hex() for member in found)
        raise Refused(f"'{asked:.80}' is more than one member: {ids}")
    return found[0]


# --- verify --------------------------------------------------------------------------------------


class VerifyRequest(NamedTuple):
    model: str  # "": all models of users
    wait_ms: int
    repair: bool

    @classmethod
    def read(cls, fields: Fields) -> "VerifyRequest":
        return cls(
            model=text(fields, "model", ""),
            wait_ms=number(fields, "wait_ms", VERIFY_MS, WAIT_MS_MAX),
            repair=flag(fields, "repair"),
        )


@control_operation(VerifyRequest, writes=NOTHING)
def verify(context: Context, request: VerifyRequest, now: Instant) -> Waiting:
    """Compare with every linked peer; or, with `repair`, have all sent both ways."""
    node = context.node
    name = request.model
    if name:
        node.model(name)
    chosen = [m for m in node.user_models() if m.name == name or not name]
    models = [model for model in chosen if isinstance(model, Slots)]
    deadline_s = now.mono_s + request.wait_ms / 1000
    if request.repair:
        return _repair(node, models, deadline_s)
    verifier = node.verifier
    check = verifier.begin(models, now.wall_ms + VERIFY_AHEAD_MS)

    def found(_: Instant) -> dict[str, Any]:
        verifier.end(check)
        return {"findings": [_finding_row(finding) for finding in check.findings.values()]}

    return Waiting(lambda _: check.done, found, None, deadline_s, found)


def _finding_row(finding: Finding) -> dict[str, Any]:
    return {
        "model": finding.model,
        "node": finding.node_id.hex(),
        "name": finding.peer,
        "state": finding.state,
        "keys": finding.keys,
        "more": finding.more,
    }


def _repair(node: Node, models: list[Slots], deadline_s: float) -> Waiting:
    """Have all sent both ways, whatever the clocks say; answered when all has come."""
    restarted: list[tuple[Link, Session, int]] = []
    for link in node.links.values():
        for model in models:
            session = link.sessions.get(model.name)
            if session is not None and session.open:
                restarted.append((link, session, session.round))
                link.send_whole(model.name)
    facts = {"peers": len(node.links)}

    def holds(_: Instant) -> bool:
        return all(
            link.ended is not None
            or (session.round > before and session.complete and session.synced)
            for link, session, before in restarted
        )

    def late(_: Instant) -> dict[str, Any]:
        raise TimedOut("not all was exchanged in time; it goes on")

    return Waiting(holds, lambda _: facts, None, deadline_s, late)
