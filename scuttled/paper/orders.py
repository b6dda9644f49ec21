"""Orders of sending, if a message can't hold all that the other one lacks.

The paper has four orders. Two know key by key what the peer holds (precise reconciliation), and
go by the time of the write; two know the greatest version of each source (scuttlebutt), and so
must send the versions of a source in their order, and may choose among sources.

Ours may send in any order, since entries move data and only a commit moves the clock (I3). Half of
a message goes to what has been stale longest at that peer, half to what was written last: the
first half bounds how old anything gets, the second sends what won't be overwritten at once.
"""

from collections.abc import Callable

import numpy as np

from scuttled.paper.replicas import Copies, Numbers

Generator = np.random.Generator
Order = Callable[[Copies, int, int, Numbers, int, Generator], Numbers]


def newest(
    copies: Copies, giver: int, taker: int, keys: Numbers, budget: int, rng: Generator
) -> Numbers:
    """Order by the last write. May starve a key for as long as more is written than fits."""
    return keys[np.argsort(-copies.held[giver, keys])[:budget]]


def oldest(
    copies: Copies, giver: int, taker: int, keys: Numbers, budget: int, rng: Generator
) -> Numbers:
    """Order by the first write."""
    return keys[np.argsort(copies.held[giver, keys])[:budget]]


def breadth(
    copies: Copies, giver: int, taker: int, keys: Numbers, budget: int, rng: Generator
) -> Numbers:
    """Of each source the oldest version, then of each the next; sources at random."""
    owners = copies.owners[keys]
    luck = rng.permutation(copies.nodes)
    by_owner = np.lexsort((copies.held[giver, keys], owners))
    in_turn = owners[by_owner]
    places = np.arange(len(keys)) - np.searchsorted(in_turn, in_turn)
    chosen: Numbers = keys[by_owner[np.lexsort((luck[in_turn], places))[:budget]]]
    return chosen


def depth(
    copies: Copies, giver: int, taker: int, keys: Numbers, budget: int, rng: Generator
) -> Numbers:
    """All of the source of which most is missing, in order of version; then of the next."""
    owners = copies.owners[keys]
    luck = rng.permutation(copies.nodes)
    counts = np.bincount(owners, minlength=copies.nodes)
    held = copies.held[giver, keys]
    chosen: Numbers = keys[np.lexsort((held, luck[owners], -counts[owners]))[:budget]]
    return chosen


def ours(
    copies: Copies, giver: int, taker: int, keys: Numbers, budget: int, rng: Generator
) -> Numbers:
    """Half to what has been stale longest at the taker, half to what was written last."""
    since_s = copies.stale_from_s[copies.held[taker, keys]]
    by_wait = np.argsort(since_s, kind="stable")
    longest = by_wait[: budget // 2]
    others = by_wait[budget // 2 :]
    last = others[np.argsort(-copies.held[giver, keys[others]])[: budget - budget // 2]]
    chosen: Numbers = keys[np.concatenate([longest, last])]
    return chosen


ORDERS: dict[str, Order] = {
    "newest": newest,
    "oldest": oldest,
    "breadth": breadth,
    "depth": depth,
    "ours": ours,
}
BY_VECTOR = {"breadth", "depth"}  # these know what the peer has from a version vector


def choose(
    name: str, copies: Copies, giver: int, taker: int, budget: int, rng: Generator
) -> tuple[Numbers, int]:
    """Keys that the giver sends, at most `budget`, and how many it wanted to send."""
    find = copies.unseen if name in BY_VECTOR else copies.missing
    keys = find(giver, taker)
    if len(keys) <= budget:
        return keys, len(keys)
    return ORDERS[name](copies, giver, taker, keys, budget, rng), len(keys)
