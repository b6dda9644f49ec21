"""Flow control by AIMD: how fast a node may write, so that what all write gets through.

Gossip carries just so many updates. Where more are written the backlog grows for as long as that
goes on, and with it the age of what others see. The paper's remedy needs nobody to oversee it. Each
node has two rates, in updates a second: what its writers want (rho) and what they are allowed
(tau). The sum of the second over all nodes is the cluster's estimate of what can be carried.

*The exchange* moves the allowance to where it is wanted, and keeps the sum. Two nodes tell each
other both their rates, and each computes from the same two pairs what it has from then on: if both
wants fit into the sum, each gets what it wants and half of the rest; else half of the sum each,
but for who wants less: it gets what it wants, and the other all that remains. So nodes that want
the same end up with the same, over whomever they are linked.

Exchanges cross each other on the way. So each is applied as a difference to the rates that were
told: whatever happened meanwhile, one end gains just what the other loses. Who meets many peers at
once tells all of them the same, and would give it away several times: it would swing to and fro,
and with more than three peers ever wider. So only a `share` of the difference is applied, one part
of the number of peers that the end with more of them has. (The paper's nodes meet one at a time.)

*The adaptation* moves the sum. Once a round, whoever sends finds out whether what was to be sent
did fit. If not, the node keeps a part of its allowance (ALPHA); if it did fit for some rounds,
it's allowed a little more (BETA_PER_S). Like a TCP sender: down by a factor, up by a step.

The paper's four constants are in no source that we have. Those of PAPER were fitted to what can be
read off its figure: stairs of 0.2 five rounds apart, and a fall of 0.09/s in the logarithm.

*What a daemon needs besides* (DAEMON). The paper starts at nought and climbs by 0.2/s in five
seconds; a log that takes 10,000 updates a second must not wait for that, nor stay throttled for
hours after its slow link is gone. So a node begins without a limit (infinite), and gets one in the
first round that is over: from what is wanted just then, since a limit that nobody reaches says
nothing about what can be carried. A cut may go deeper than ALPHA, if it's known that only a
`part` of what was to be sent gets through. The step up is a part of the allowance at least, and
grows while nothing is over, as in TCP's slow start. After half a minute of that it is lifted.

Pure: who calls it says when a round is over. Both the simulator of the paper's experiment and the
daemon run on it.                                   [van Renesse et al. 2008, 4]
"""

from dataclasses import dataclass
from math import inf

ALPHA = 0.9  # of its rate: what a node keeps when rounds were over
OVER_ROUNDS = 1  # in a row, until it's cut
BETA_PER_S = 0.2  # updates a second that it's allowed more when rounds were under
UNDER_ROUNDS = 5  # in a row, until it's raised
APPROACH_MAX = 4.0  # times faster in one step, be it known how much gets through


@dataclass(frozen=True, slots=True)
class Rates:
    """Of one node, in updates a second."""

    wanted: float  # infinite: as much as it can get
    allowed: float  # infinite: no limit


@dataclass(frozen=True, slots=True)
class Laws:
    """The constants of the adaptation."""

    alpha: float = ALPHA
    over_rounds: int = OVER_ROUNDS
    beta_per_s: float = BETA_PER_S
    under_rounds: int = UNDER_ROUNDS
    rise: float = 0.0  # a step up is at least this part of what is allowed...
    hurry: float = 1.0  # ...and, while nothing is over, the next is so many times larger
    free_rounds: float = inf  # under in a row, until the limit is lifted


PAPER = Laws()
# Rounds of a second: without a limit again half a minute after the link is free.
DAEMON = Laws(rise=0.02, hurry=1.75, under_rounds=3, free_rounds=30)


def exchange(mine: Rates, theirs: Rates) -> float:
    """The rate allowed to `mine` after the exchange; the other end gets the rest of the sum."""
    total = mine.allowed + theirs.allowed
    rest = total - mine.wanted - theirs.wanted
    half = total / 2
    if rest >= 0:
        return mine.wanted + rest / 2
    if mine.wanted < half:
        return mine.wanted
    if theirs.wanted < half:
        return total - theirs.wanted
    return half


class Flow:
    """One node's two rates, and what it has seen of late."""

    def __init__(self, allowed: float = inf, *, wanted: float = inf, laws: Laws = DAEMON) -> None:
        self.laws = laws
        self.wanted = wanted
        self.allowed = allowed  # below nought if late exchanges took what was gone by then
        self._over = self._under = 0  # rounds in a row
        self._step = 1.0  # how many times the least step the next one is

    @property
    def rates(self) -> Rates:
        """Both, as a peer is told."""
        return Rates(self.wanted, self.allowed)

    @property
    def limited(self) -> bool:
        return self.allowed < inf

    @property
    def quiet_rounds(self) -> int:
        """The number of rounds in a row that were under."""
        return self._under

    def meet(self, mine: Rates, theirs: Rates, *, share: float = 1.0) -> None:
        """Exchange with a peer: `mine` are the rates that it was told, `theirs` what it said.

        Both must be of the same exchange, and both ends take the same share. With a node that has
        no limit there is none.
        """
        if max(self.allowed, mine.allowed, theirs.allowed) < inf:
            self.allowed += (exchange(mine, theirs) - mine.allowed) * share

    def next_round(self, *, over: bool, part: float = 1.0, used: float | None = None) -> None:
        """A round has passed; `over`: what was to be sent did not fit, only `part` of it did.

        `used` is what was written in it, if that is known: writers need not obey.
        """
        if over:
            self._over += 1
            self._under = 0
            self._step = 1.0
            if self._over >= self.laws.over_rounds:
                self._over = 0
                self._cut(part, min(self.allowed, self.wanted) if used is None else used)
        else:
            self._over = 0
            self._under += 1
            if self._under >= self.laws.free_rounds:
                self.allowed = inf
            elif self._under % self.laws.under_rounds == 0:
                self._raise()

    def approach(self, factor: float) -> None:
        """It is known that so much more gets through: a node that wants it need not climb."""
        if 0 < self.allowed < self.wanted and factor > 1:
            self.allowed *= min(factor, APPROACH_MAX)

    def _cut(self, part: float, used: float) -> None:
        if self.allowed > 0 and used < inf:
            self.allowed = used * min(self.laws.alpha, part)

    def _raise(self) -> None:
        laws = self.laws
        allowed = self.allowed
        step = max(laws.beta_per_s, laws.rise * allowed) * self._step
        self.allowed += min(step, max(allowed, laws.beta_per_s))  # twice as much is enough
        self._step *= laws.hurry
