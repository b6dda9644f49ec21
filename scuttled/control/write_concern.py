"""Write concern: how many others have what was just written (`set --wait`).

A member has it when it said so: by HAVE where it is linked (on disk there), else by its row in
`_members`, which a waiting writer makes go out at once.
"""

from typing import Any, NamedTuple

from scuttled.control.fields import Fields, number
from scuttled.control.results import Answer, Waiting
from scuttled.errors import Refused, TimedOut, UsageError
from scuttled.node.membership import Member
from scuttled.node.node import Node
from scuttled.node.timekeeping import CLOCK_HINT
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.update import Instant
from scuttled.units import format_duration

ALL = "all"
MAJORITY = "majority"
OTHERS_MAX = 10_000
WAIT_MS = 5_000  # for others to have a write, if nothing is said
WAIT_MS_MAX = 7 * 86_400_000
NAMED_MAX = 5  # of the members that a late writer waits for; the rest is counted


def check_level(level: object) -> int | str:
    """The level that is asked for: a number of others, `majority` or `all`. Raises UsageError."""
    if level in (ALL, MAJORITY):
        return str(level)
    if type(level) is int and 0 < level <= OTHERS_MAX:
        return level
    raise UsageError(f"wait {level!r:.40}, allowed are 1 to {OTHERS_MAX}, majority and all")


class WaitFields(NamedTuple):
    """The fields of any write that may wait for others."""

    level: int | str | None  # None: on disk here is enough
    wait_ms: int


ON_DISK_HERE = WaitFields(None, WAIT_MS)


def read_wait(fields: Fields) -> WaitFields:
    """Raises UsageError."""
    if "wait" not in fields and "wait_ms" not in fields:
        return ON_DISK_HERE
    wait_ms = number(fields, "wait_ms", WAIT_MS, WAIT_MS_MAX)
    level = fields.get("wait")
    return WaitFields(None if level is None else check_level(level), wait_ms)


def check_can_hold(node: Node, level: int | str | None, wall_ms: int) -> None:
    """Before anything is written: raises Refused if there are not so many other members."""
    if level is None:
        return
    others = node.members.count(wall_ms) - 1
    if isinstance(level, int) and level > others and not node.holds_back:
        there = f"is {_members(1)}" if others == 1 else f"are {_members(others)}"
        raise Refused(
            f"not written: it was to be on disk on {_members(level)}, and there {there}",
            hint="scuttled members",
        )


class WriteConcern:
    """Write concern of one write: the members that have on disk what this node's model holds."""

    def __init__(self, node: Node, model: Scuttlebutt, level: int | str) -> None:
        self.node = node
        self.model = model
        self.level = level
        self._aim()

    def _aim(self) -> None:
        """At all that the model holds now."""
        self.log = self.model.log
        self.position = self.log.end
        self.source = self.node.author.source
        self.time = self.model.clock[self.source]
        self.node.hurry(self.model)

    def count(self, wall_ms: int) -> int:
        if self.log is not self.model.log:
            # A RESET, or a future that was taken back: what was written stands elsewhere now.
            self._aim()
        return sum(self._holds(member) for member in self.node.members.others(wall_ms))

    def _holds(self, member: Member) -> bool:
        link = self.node.links.get(member.node_id)
        session = link.sessions.get(self.model.name) if link is not None else None
        if session is not None and session.open and session.acked >= self.position:
            return True
        return member.covers(self.model.name, self.source, self.time)

    def needed(self, wall_ms: int) -> int:
        """The number of others that there must be."""
        members = self.node.members.count(wall_ms)
        if self.level == ALL:
            return members - 1
        return members // 2 if self.level == MAJORITY else int(self.level)

    def enough(self, wall_ms: int) -> bool:
        """Never while nobody takes what is written here: not even who is there is known then."""
        return not self.node.holds_back and self.count(wall_ms) >= self.needed(wall_ms)

    def facts(self, wall_ms: int) -> dict[str, int]:
        return {"held": self.count(wall_ms), "members": self.node.members.count(wall_ms)}

    def too_late(self, wall_ms: int) -> TimedOut:
        """Time is over: how far it came, and on whom it waits."""
        count = self.count(wall_ms)
        needed = self.needed(wall_ms)
        others = self.node.members.count(wall_ms) - 1
        waits = [m for m in self.node.members.others(wall_ms) if not self._holds(m)]
        names = [self._waits_for(member, wall_ms) for member in waits[:NAMED_MAX]]
        more = len(waits) - NAMED_MAX
        missing = ", ".join(names) + (f" and {more} more" if more > 0 else "")
        goes_on = f"goes on to {missing or 'the rest'}"
        if why := self.node.time.trouble:
            goes_on = f"can't go on to {missing or 'the rest'} yet: {why}"
        return TimedOut(
            f"written here, and {count} of {others} other members have it on disk by now; it was "
            f"to be {needed}: the write stands, and {goes_on}",
            hint=CLOCK_HINT if why else "",
        )

    def _waits_for(self, member: Member, wall_ms: int) -> str:
        """A member that does not have it, and what is known of why."""
        name = member.name or member.node_id.hex()
        link = self.node.links.get(member.node_id)
        if link is None:
            silent_s = max(wall_ms - member.seen_ms, 0) / 1000
            return f"{name} (not linked, heard of {format_duration(round(silent_s))} ago)"
        if why := link.stopped.get(self.model.name):
            return f"{name} (stopped: {why})"
        return f"{name} (linked, not acknowledged)"


def answer_when_held(
    node: Node, model: Scuttlebutt, ok: dict[str, Any], wait: WaitFields, now: Instant
) -> Answer | Waiting:
    """The answer once what was just written is on disk here and, if asked for, with others."""
    answer = Answer(ok, (model, model.log.end))
    if wait.level is None:
        return answer
    concern = WriteConcern(node, model, wait.level)

    def late(at: Instant) -> dict[str, Any]:
        raise concern.too_late(at.wall_ms)

    return Waiting(
        holds=lambda at: answer.saved and concern.enough(at.wall_ms),
        answer=lambda at: {**ok, **concern.facts(at.wall_ms)},
        until=answer.until,
        deadline_s=now.mono_s + wait.wait_ms / 1000,
        late=late,
    )


def _members(count: int) -> str:
    return "1 other member" if count == 1 else f"{count} other members"
