"""This machine's wall clock, as its steady clock and the clocks of its peers see it.

Two things follow from it. *A jump*: the wall clock was set while the daemon ran, which its steady
clock tells. *A future of our own*: the stamps of this node lie further ahead of its wall clock
than others take (I9), since the wall clock was ahead once and timestamps only rise (I1). Whether
it was wrong then, or is wrong now, one clock can't tell. So what this node wrote in the future is
taken back (see `future`) only when

* the wall clock reads a time at which this program existed: that of a machine that has just
  started, and was not told the time yet, does not;
* of the clocks that were heard since the last jump, more agree with it than differ from it, this
  node's own among them, and at least one other: a node alone waits;
* a peer that agrees is itself not ahead. If all that agree hold a future, too, it may be that all
  clocks are behind for a while (a site that comes back from a power cut): then it waits longer,
  so that they can be set.

Pure: the time comes in as an argument.
"""

from collections.abc import Collection, Hashable
from math import inf
from typing import NamedTuple

from scuttled.protocol.link import Link
from scuttled.protocol.messages import Hello
from scuttled.replica.update import TICKS_PER_MS, Instant, NodeId
from scuttled.units import format_duration

JUMP_MS = 2000  # between wall and steady clock, from one look to the next: it was set
CATCH_UP_MS = 5000  # beyond the allowed skew, below which time itself is soon enough
PLAUSIBLE_MS = 1_577_836_800_000  # 2020-01-01: there was no scuttled before
ASK_S = 1.0  # between two measures of a linked peer's clock, while it matters
HEARD_S = 45.0  # for which a clock that was heard counts; who is refused is dialled every 30 s
HEARD_MAX = 1024  # clocks; a stranger can say HELLO with any id
SETTLE_S = 2.0  # of agreement before the future is taken back: others may have their say
DOUBT_S = 15.0  # likewise, while none of those who agree is known to be without a future
WHO_MAX = 3  # named in a sentence
CLOCK_HINT = "have the clock of every machine set by NTP: timedatectl"


class _Heard(NamedTuple):
    """The clock of a peer."""

    name: str
    skew_ms: int | None  # by how much it is ahead of ours; None: too much, it did not say how much
    at_s: float


class Timekeeping:
    """Timekeeping of one node: what it knows of its wall clock."""

    def __init__(self, max_skew_ms: int) -> None:
        self.max_skew_ms = max_skew_ms
        self.ahead_ms = 0  # how far our stamps lie ahead of the wall clock; 0: not too far
        self.jumped_s = -inf  # when the wall clock was set last, on the monotonic clock
        self._offset_ms: float | None = None  # wall clock less steady clock, at the last look
        self._heard: dict[Hashable, _Heard] = {}
        self._agreed_s: float | None = None  # since when more agree than differ

    def look(self, now: Instant, steady_s: float) -> int:
        """By how much the wall clock was set since the last look, in ms; 0: it was not.

        `steady_s` goes on while the machine sleeps, as the wall clock does.
        """
        offset_ms = now.wall_ms - steady_s * 1000
        jump_ms = 0 if self._offset_ms is None else round(offset_ms - self._offset_ms)
        self._offset_ms = offset_ms
        if abs(jump_ms) < JUMP_MS:
            return 0
        self.jumped_s = now.mono_s
        self._heard.clear()  # they were compared with what it showed before
        self._agreed_s = None
        return jump_ms

    def hear_first(self, peer: Hello | str, mine: NodeId, now: Instant) -> None:
        """Heed the time that a HELLO says; of an address, that we were refused there for ours."""
        if isinstance(peer, str):
            self.hear(peer, peer, None, now.mono_s)
        elif peer.node_id != mine:
            self.hear(peer.node_id, peer.name, peer.wall_ms - now.wall_ms, now.mono_s)

    def hear_links(self, links: Collection[Link], now: Instant) -> None:
        """Of whoever is linked, what was measured last; asks again while it matters.

        To be called often: who was not heard for long is forgotten.
        """
        self._forget_old(now.mono_s)
        for link in links:
            assert link.peer is not None
            measured_s = link.pulse.measured_s or link.began.mono_s
            is_old = measured_s < self.jumped_s
            if not is_old:
                self.hear(link.peer.node_id, link.peer.name, link.pulse.skew_ms, now.mono_s)
            if (is_old or self.ahead_ms) and now.mono_s - measured_s >= ASK_S:
                link.ask_time(now)

    def hear(self, who: Hashable, name: str, skew_ms: int | None, at_s: float) -> None:
        """A peer's clock. `who` is its id; its address if that is all we know of it.

        What was heard before the last jump is not heeded.
        """
        if at_s >= self.jumped_s and (who in self._heard or len(self._heard) < HEARD_MAX):
            self._heard[who] = _Heard(name, skew_ms, at_s)

    def measure(self, hlc_ms: int, wall_ms: int) -> None:
        """Find out whether our stamps are ahead."""
        ahead_ms = hlc_ms - wall_ms
        self.ahead_ms = ahead_ms if ahead_ms > self.max_skew_ms + CATCH_UP_MS else 0
        if not self.ahead_ms:
            self._agreed_s = None

    def may_take_back(self, links: Collection[Link], now: Instant) -> bool:
        """True if all that is ahead is to be taken back now."""
        if not self.ahead_ms:
            return False
        agree = self._agree()
        differ = self._differ()
        if now.wall_ms < PLAUSIBLE_MS or not agree or len(agree) + 1 <= len(differ):
            self._agreed_s = None
            return False
        if self._agreed_s is None:
            self._agreed_s = now.mono_s
        limit = (now.wall_ms + self.max_skew_ms) * TICKS_PER_MS
        vouched = any(link.sessions and link.is_below(limit) for link in links)
        return now.mono_s - self._agreed_s >= (SETTLE_S if vouched else DOUBT_S)

    def _forget_old(self, now_s: float) -> None:
        for who in [who for who, heard in self._heard.items() if now_s - heard.at_s > HEARD_S]:
            del self._heard[who]

    def _agrees(self, heard: _Heard) -> bool:
        return heard.skew_ms is not None and abs(heard.skew_ms) <= self.max_skew_ms

    def _agree(self) -> list[_Heard]:
        return [heard for heard in self._heard.values() if self._agrees(heard)]

    def _differ(self) -> list[_Heard]:
        """Those known by name, or those of whom we know the address, whichever are more.

        An older peer that refuses us says no name, and one that is refused no address.
        """
        known = [heard for heard in self._heard.values() if not self._agrees(heard)]
        silent = [heard for heard in known if heard.skew_ms is None]
        named = [heard for heard in known if heard.skew_ms is not None]
        return max(named, silent, key=len)

    # --- in words ---

    @property
    def trouble(self) -> str:
        """Why what is written here reaches nobody, if it is for the clocks; else ""."""
        return self.future or self.odd_one

    @property
    def odd_one(self) -> str:
        """Why nobody is linked with us, if it is for the clocks: most differ from ours; else ""."""
        differ = self._differ()
        if not differ or len(self._agree()) >= len(differ):
            return ""
        known = [heard.skew_ms for heard in differ if heard.skew_ms is not None]
        who = _names(differ)
        if not known:
            return f"the wall clock of this machine differs too much from that of {who}"
        skew_ms = max(known, key=abs)
        way = "behind" if skew_ms > 0 else "ahead of"
        return f"the wall clock of this machine is {_span(skew_ms)} {way} that of {who}"

    @property
    def future(self) -> str:
        """Words for what is wrong with our stamps, and what they wait for; "" if nothing is."""
        if not self.ahead_ms:
            return ""
        what = (
            f"what is written here is stamped {_span(self.ahead_ms)} ahead of this machine's wall "
            "clock, which was ahead once or is behind now, so no other node takes it"
        )
        if self.odd_one:
            return f"{what}; it is taken back once most peers' clocks agree with this one"
        if self._agreed_s is None:
            return f"{what}; it is taken back once a peer is linked whose clock agrees"
        return f"{what}; it is being taken back: {_names(self._agree())} agree with the clock"


def _names(heard: list[_Heard]) -> str:
    names = sorted(peer.name for peer in heard)
    if len(names) > WHO_MAX:
        return f"{', '.join(names[:WHO_MAX])} and {len(names) - WHO_MAX} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _span(ms: int) -> str:
    return format_duration(abs(ms) / 1000)
