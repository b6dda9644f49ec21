"""What an operation may give, and how its fields are read."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from scuttled.control.event_stream import EventStream
from scuttled.control.scan import Scan
from scuttled.control.tally import Tally
from scuttled.control.watch import Watch
from scuttled.errors import UsageError
from scuttled.node.node import Node
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.slots import Slots
from scuttled.replica.update import Instant

Fields = Mapping[str, Any]
Until = tuple[Scuttlebutt, int]  # a model, and where its log is to be saved to


class Answer(NamedTuple):
    ok: dict[str, Any]
    until: Until | None = None  # say it when the log is saved so far

    @property
    def saved(self) -> bool:
        return self.until is None or self.until[0].log.durable >= self.until[1]


class Waiting(NamedTuple):
    """An answer to be given when a condition holds, or when the time is over."""

    holds: Callable[[Instant], bool]
    answer: Callable[[Instant], dict[str, Any]] = lambda _: {}
    until: Until | None = None  # who wrote is told at once if that can't be saved
    deadline_s: float = math.inf  # of the monotonic clock
    late: Callable[[Instant], dict[str, Any]] = lambda _: {}  # what there is then; may raise


Result = Answer | Waiting | Scan | Tally | Watch | EventStream


@dataclass(frozen=True, slots=True)
class DaemonDoor:
    """What operations may ask of the daemon around the node."""

    facts: Callable[[Instant], dict[str, Any]]  # for `status`
    peers: Callable[[Instant], list[dict[str, Any]]]
    join: Callable[[list[str], bool], dict[str, Any]]
    leave: Callable[[], int]  # how many peers are told; the daemon then stops
    settings: Callable[[], list[tuple[str, str, str]]]
    part: Callable[[list[str]], dict[str, Any]]
    decided: Callable[[list[str]], bool]  # how it goes with peers that were joined
    verdicts: Callable[[list[str]], list[dict[str, Any]]]


class Operations:
    """What both halves of the operations share."""

    node: Node
    daemon: DaemonDoor


def model_line(model: Scuttlebutt) -> dict[str, Any]:
    held = model if isinstance(model, Slots) else None
    return {
        "name": model.name,
        "type": model.data_type,
        "keys": held.count if held is not None else model.log.live,
        "tombstones": held.tombstones if held is not None else 0,
        "bytes": held.bytes if held is not None else 0,
    }


def model_list(node: Node) -> list[dict[str, Any]]:
    """The users' models, but for dropped ones."""
    models = (m for m in node.user_models() if not (isinstance(m, Slots) and m.cleared))
    return [model_line(model) for model in sorted(models, key=lambda model: model.name)]


def text(request: Fields, name: str, default: str | None = None) -> str:
    value = request.get(name, default)
    if not isinstance(value, str):
        raise UsageError(f"{name} {value!r:.60}, expected text")
    return value


def number(request: Fields, name: str, default: int, most: int = 2**63) -> int:
    value = request.get(name, default)
    if type(value) is not int or not 0 <= value <= most:
        raise UsageError(f"{name} {value!r:.60}, expected a whole number from 0 to {most}")
    return value


def flag(request: Fields, name: str) -> bool:
    """A switch; off, if nothing is said of it."""
    value = request.get(name, False)
    if not isinstance(value, bool):
        raise UsageError(f"{name} {value!r:.60}, expected true or false")
    return value
