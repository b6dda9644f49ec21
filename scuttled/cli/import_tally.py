"""Counters of an import: what became of its keys by now, model by model.

They are kept while the import runs, since whatever ends it half-way is answered by what is in.
"""

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from scuttled.cli import output
from scuttled.cli.output import counted
from scuttled.cli.settings import Settings


class ImportTally:
    """Counts of each model's keys: those set (`count`), left, expired and deleted."""

    def __init__(self, settings: Settings, *, dry_run: bool) -> None:
        self._settings = settings
        self._dry_run = dry_run
        self._counts: dict[str, Counter[str]] = {}
        self._unanswered: deque[tuple[str, int]] = deque()
        """Model and number of keys of each request, in the order in which answers come."""

    def begin(self, model: str) -> Counter[str]:
        """The counts of this model from here on, all of them nothing yet."""
        self._counts[model] = Counter(count=0, left=0, expired=0, deleted=0)
        return self._counts[model]

    def put(self, model: str, done: Counter[str]) -> None:
        """All counts of this model at once."""
        self._counts[model] = done

    def __getitem__(self, model: str) -> Counter[str]:
        return self._counts[model]

    def sent(self, model: str, keys: int) -> None:
        """A request with so many keys is on its way."""
        self._unanswered.append((model, keys))

    def answered(self, done: Mapping[str, int]) -> None:
        """The oldest request on its way was answered so."""
        model, _ = self._unanswered.popleft()
        self._counts[model].update(done)

    @contextmanager
    def told_if_cut_short(self) -> Iterator[None]:
        """Around all of it: whatever ends it half-way, people are told what is in by then."""
        try:
            yield
        except BaseException as error:
            by_signal = not isinstance(error, Exception)
            if not self._dry_run and (self._counts or by_signal):
                words = f"cut short: {self._how_far()}"
                if self._settings.json:
                    output.say(output.json_line({"message": words}).rstrip())
                else:
                    output.say(f"scuttled: {words}")
            raise

    def _how_far(self) -> str:
        parts = []
        for model, count in self._counts.items():
            in_flight = sum(keys for to, keys in self._unanswered if to == model)
            if not count.total() and not in_flight:
                continue
            part = f"{counted(count['count'])} imported into {model}"
            if in_flight:
                part += f" (and up to {in_flight:,} more, not yet answered)"
            if count["left"]:
                part += f", {count['left']:,} left alone"
            if count["deleted"]:
                part += f", {count['deleted']:,} deleted"
            parts.append(part)
        if not parts:
            return "nothing was imported"
        return f"{'; '.join(parts)}; begun again it leaves alone what is in"

    def tell(self) -> None:
        """Says what was done, or would be; a line for each model."""
        imported = "would be imported" if self._dry_run else "imported"
        for model, count in self._counts.items():
            if self._settings.json:
                dry = {"dry_run": True} if self._dry_run else {}
                output.emit({"model": model, **count, **dry})
            words = f"{counted(count['count'])} {imported} into {model}"
            if count["left"]:
                words += f", {count['left']:,} left alone"
            if count["expired"]:
                words += f", {count['expired']:,} expired"
            if count["deleted"]:
                words += f", {count['deleted']:,} deleted"
            self._settings.say(words)
