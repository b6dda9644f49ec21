"""Notices of a node to whoever runs it; the shell logs them.

Bounded: what nobody takes does not pile up, and what comes again and again is said once a minute.
"""

import math
from collections.abc import Mapping

from scuttled.replica.scuttlebutt import Received
from scuttled.replica.update import TICKS_PER_MS, Instant, Source, timestamp_of

NOTICES_MAX = 100
NAMED_MAX = 5  # models in one line
REPEAT_S = 60.0  # between two notices that updates of one model come from the future


class Notices:
    """Sentences, in two kinds."""

    def __init__(self) -> None:
        self.warnings: list[str] = []  # to be looked at
        self.news: list[str] = []  # all is well
        self._taken: dict[str, dict[str, int]] = {}  # by peer: updates of each model, taken over
        self._doubted_told: dict[tuple[str, str], float] = {}  # by peer and model
        self._future_told: dict[str, float] = {}  # by model, when it was last said

    def __bool__(self) -> bool:
        return bool(self.warnings or self.news)

    def warn(self, words: str) -> None:
        if len(self.warnings) < NOTICES_MAX:
            self.warnings.append(words)

    def tell(self, words: str) -> None:
        if len(self.news) < NOTICES_MAX:
            self.news.append(words)

    def took_over(self, peer: str, model: str, updates: int) -> None:
        """This node had nothing of a model, and has a peer's whole state of it now."""
        self._taken.setdefault(peer, {})[model] = updates

    def tell_taken(self) -> None:
        """Once it has settled down: one line of news for each peer whose state was taken over."""
        for peer, models in self._taken.items():
            named = ", ".join(f"{name} ({count:,} updates)" for name, count in models.items())
            if len(models) > NAMED_MAX:
                named = f"{len(models):,} models, {sum(models.values()):,} updates"
            self.tell(f"new here: took over the state of {peer}: {named}")
        self._taken.clear()

    def clear(self) -> None:
        """All was said."""
        self.warnings.clear()
        self.news.clear()

    def doubted(self, peer: str, model: str, causes: Mapping[str, int], now: Instant) -> None:
        """Updates were not taken, since nobody vouches for them."""
        if now.mono_s - self._doubted_told.get((peer, model), -math.inf) >= REPEAT_S:
            self._doubted_told[peer, model] = now.mono_s
            words = ", ".join(f"{count} {cause}" for cause, count in sorted(causes.items()))
            self.warn(f"updates in {model} that came by {peer} were not taken: {words}")

    def refused_future(
        self,
        model: str,
        received: Received,
        who: dict[Source, str],
        limit_ms: int,
        now: Instant,
    ) -> None:
        """Updates were not taken, since they are stamped too far ahead (I9)."""
        if now.mono_s - self._future_told.get(model, -REPEAT_S) < REPEAT_S:
            return
        self._future_told[model] = now.mono_s
        source, stamp = min(received.future.items(), key=lambda item: item[1])
        ahead = timestamp_of(stamp) // TICKS_PER_MS - now.wall_ms
        self.warn(
            f"{received.refused} updates of {who[source]} in {model} are stamped "
            f"{ahead / 1000:.1f} s ahead of this node's clock, allowed are "
            f"{limit_ms / 1000:.0f} s: not taken until then"
        )
