"""Subscribers to one kind of news of a node: who is woken, in the order in which they asked.

Waking says only that there may be something; a reader then looks where its cursor stands. So
nothing is queued, and being woken once too often costs a look.
"""

from collections.abc import Callable
from typing import Self

Waker = Callable[[], None]  # never does work: rings a bell, mostly


class Subscription:
    """One subscriber's handle. It is woken until `close`, or the end of the `with` block."""

    __slots__ = ("_subscribers",)

    def __init__(self, subscribers: "Subscribers") -> None:
        self._subscribers = subscribers

    def close(self) -> None:
        """Wake it no more. May be called again, and by the one who is being woken."""
        self._subscribers.discard(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Subscribers:
    """Those who want to hear of one kind of news."""

    __slots__ = ("_order", "_wakers")

    def __init__(self) -> None:
        # A dict, not a set: in which order they are woken must not hang on addresses in memory.
        self._wakers: dict[Subscription, Waker] = {}
        # Its values, which are never changed in place: each write wakes, few subscribe.
        self._order: tuple[Waker, ...] = ()

    def __len__(self) -> int:
        return len(self._wakers)

    def add(self, wake: Waker) -> Subscription:
        subscription = Subscription(self)
        self._wakers[subscription] = wake
        self._order = tuple(self._wakers.values())
        return subscription

    def discard(self, subscription: Subscription) -> None:
        if self._wakers.pop(subscription, None) is not None:
            self._order = tuple(self._wakers.values())

    def wake(self) -> None:
        """Wake all who are subscribed now; one may end its own subscription meanwhile, or begin."""
        for wake in self._order:
            wake()
