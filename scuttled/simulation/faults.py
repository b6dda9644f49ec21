"""Faults of a run: a switch each, and the sentence that says what it does."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

from scuttled.errors import UsageError


def _fault(words: str) -> bool:
    """A field of Faults that is off."""
    return field(default=False, metadata={"words": words})


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults and the traffic of one run."""

    delay: bool = _fault("bytes take up to 0.2 s, each connection on its own: so links reorder")
    cut: bool = _fault("a link breaks, in the middle of a frame")
    part: bool = _fault("two machines hear nothing of each other for a while")
    oneway: bool = _fault("a machine is heard by another, and does not hear it")
    slow: bool = _fault("a way carries a few kB/s")
    clog: bool = _fault("some machines' networks stop one by one, and go on in another order")
    kill: bool = _fault("a daemon is killed; it comes back with what its disk has")
    power: bool = _fault("a machine loses power: what was not synced is lost in part, or torn")
    restore: bool = _fault("a daemon is killed, and comes back with an older backup")
    copy: bool = _fault("a machine's state is copied, and another one started from it")
    disk: bool = _fault("disks take their time, so a kill finds much that is not saved")
    jump: bool = _fault("wall clocks are set, forth and back")
    drift: bool = _fault("wall clocks run fast or slow, up to 1 %")
    dns: bool = _fault("names lead elsewhere, to several machines, to none, to who asks")
    garbage: bool = _fault("strangers send garbage to a port")
    forget: bool = _fault("a member that is away for long is forgotten, and has to rejoin")
    deletes: bool = _fault("programs delete keys, and drop models")
    expiries: bool = _fault("keys have times to live")
    models: bool = _fault("models of all types are created, on several machines at once")
    clash: bool = _fault("two machines create a model of one name with two types")
    years: bool = _fault("the clocks of one, two or all are hours or years off, and mended")

    @classmethod
    def named(cls, names: Iterable[str]) -> "Faults":
        """Raises UsageError at a name that is none."""
        chosen = set(names)
        if unknown := sorted(chosen - set(WORDS)):
            raise UsageError(
                f"no fault '{unknown[0]}'", hint=f"there are {' '.join(WORDS)}, and all, none"
            )
        return cls(**dict.fromkeys(chosen, True))

    @classmethod
    def drawn(cls, rng: random.Random) -> "Faults":
        """A few, or many: a run with few comes to places that one with all never reaches."""
        share = rng.choice((0.15, 0.4, 0.4, 0.8, 0.8, 0.0))
        drawn = {name: rng.random() < share for name in WORDS if name not in LATE}
        if not share:
            drawn |= {name: rng.random() < 0.5 for name in sorted(CALM)}
        late = random.Random()  # noqa: S311  (a simulation)
        late.setstate(rng.getstate())
        drawn |= {name: late.random() < share / 2 for name in LATE}
        return cls(**drawn)

    @property
    def calm(self) -> bool:
        """True if nothing ends a connection or a daemon."""
        return not any(getattr(self, name) for name in set(WORDS) - CALM)

    @property
    def names(self) -> list[str]:
        return [name for name in WORDS if getattr(self, name)]


WORDS = {fault.name: str(fault.metadata["words"]) for fault in fields(Faults)}
ALL = Faults(**dict.fromkeys(WORDS, True))
LATE = ("years",)  # drawn beside the others, so that older seeds draw what they drew
CALM = {"delay", "deletes", "expiries", "models"}
