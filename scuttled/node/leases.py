"""Keys with a TTL, when the wall clock is set: a TTL is a length of time.

A lease says when it ends by the wall clock of the node that set it. If that clock is set while the
daemon runs (NTP comes after the start, say, and finds 1970), the lease would end at once, or years
too late. So the daemon issues it anew, with what is left of it. That is done by the node that set
it and for what was set by the clock as it was: since this start, or in the years before there was
a time to tell. What others set is theirs to issue anew, and comes like any other update.
"""

from scuttled.node.timekeeping import PLAUSIBLE_MS
from scuttled.replica.change import Slot, make_change
from scuttled.replica.slots import Slots
from scuttled.replica.update import TICKS_PER_MS


def renew_leases(model: Slots, since: int, jump_ms: int, wall_ms: int) -> int:
    """Move the ends of this node's own leases by as much as the clock was set; how many.

    `since` is where the log ended when this daemon was started.
    """
    before_ms = wall_ms - jump_ms

    def is_ours(position: int, lease: Slot) -> bool:
        if lease.source != model.author.source or lease.expires_ms <= before_ms:
            return False
        no_time_yet = max(before_ms, lease.timestamp // TICKS_PER_MS) < PLAUSIBLE_MS
        return position >= since or no_time_yet

    ours = [lease for position, lease in model.leases() if is_ours(position, lease)]
    for lease in ours:
        expires_ms = max(lease.expires_ms + jump_ms, 1)
        change = make_change(lease.slot, lease.kind, lease.payload, expires_ms, lease.origin)
        model.write(change, wall_ms)
    return len(ours)
