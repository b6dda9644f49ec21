"""Members of the cluster as `members` shows them: who is there, and how far behind this node."""

from typing import Any

from scuttled.node.membership import FRESH_MS, Member
from scuttled.node.node import Node
from scuttled.replica.update import stamp
from scuttled.version import __version__


def member_rows(node: Node, wall_ms: int) -> list[dict[str, Any]]:
    """Every node of the cluster: who, where, since when silent, how far behind this node."""
    mine = node.settings
    rows = [
        {
            "node": node.author.node_id.hex(), "name": mine.name, "address": mine.address,
            "state": "self", "lag": 0, "behind": {}, "seen_ms": wall_ms, "life": node.author.life,
            "version": __version__,
        }
    ]  # fmt: skip
    for member in sorted(node.members.known.values(), key=lambda member: member.name):
        if member.node_id != node.author.node_id and member.listed:
            behind = _behind(node, member)
            rows.append(
                {
                    "node": member.node_id.hex(), "name": member.name, "address": member.address,
                    "state": state_of(node, member, wall_ms), "lag": sum(behind.values()),
                    "behind": behind, "seen_ms": _seen_ms(node, member), "life": member.life,
                    "version": member.version,
                }
            )  # fmt: skip
    return rows


def state_of(node: Node, member: Member, wall_ms: int) -> str:
    """up (linked), seen (its row is fresh, so others are), silent, or forgotten (for long)."""
    if member.node_id in node.links:
        return "up"
    silent_ms = wall_ms - member.seen_ms
    if not node.members.counts(member, wall_ms):
        return "forgotten"
    return "seen" if silent_ms < FRESH_MS else "silent"


def _seen_ms(node: Node, member: Member) -> int:
    link = node.links.get(member.node_id)
    return link.heard_at.wall_ms if link is not None else member.seen_ms


def _behind(node: Node, member: Member) -> dict[str, int]:
    """By model, how many updates of ours it does not have on disk, as far as we know."""
    link = node.links.get(member.node_id)
    behind = {}
    for model in node.user_models():
        session = link.sessions.get(model.name) if link is not None else None
        if session is not None and session.open:
            behind[model.name] = session.lag
        else:
            times = member.clocks.get(model.name, {})
            behind[model.name] = model.log.count_missing({s: stamp(t) for s, t in times.items()})
    return {name: count for name, count in behind.items() if count}
