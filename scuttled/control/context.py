"""The context of an operation: the node that it acts on, and the daemon around that."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from scuttled.node.node import Node
from scuttled.replica.update import Instant


@dataclass(frozen=True, slots=True)
class DaemonDoor:
    """All that operations may ask of the daemon around the node."""

    facts: Callable[[Instant], dict[str, Any]]  # for `status`
    peers: Callable[[Instant], list[dict[str, Any]]]
    join: Callable[[list[str], bool], dict[str, Any]]
    leave: Callable[[], int]  # how many peers are told; the daemon then stops
    settings: Callable[[], list[tuple[str, str, str]]]
    part: Callable[[list[str]], dict[str, Any]]
    decided: Callable[[list[str]], bool]  # how it goes with peers that were joined
    verdicts: Callable[[list[str]], list[dict[str, Any]]]


class Context(NamedTuple):
    node: Node
    daemon: DaemonDoor
