"""Control operation: one request that the daemon knows. Where one is added, and all it has to say.

    class PokeRequest(NamedTuple):                       its fields, as docs/control.md has them
        key: str

        @classmethod
        def read(cls, fields: Fields) -> "PokeRequest":
            return cls(key=text(fields, "key"))

    @control_operation(PokeRequest, writes=Map.data_type)
    def poke(context: Context, request: PokeRequest, now: Instant) -> Answer:
        ...

That is all of it: `operations` gathers these into its table, from which requests are carried out
and flow control learns what is held back. Fields are read once, all of them before anything is
done, so a request that is wrong changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

from scuttled.control.context import Context
from scuttled.control.fields import Fields
from scuttled.control.results import Result
from scuttled.node.node import Node
from scuttled.replica.update import Instant

NOTHING = ""  # no model changes
UNPACED = "unpaced"  # models change, but seldom, and for people: flow control lets it pass


class Request(Protocol):
    """The fields of one operation's request, by the names they have on the wire: a NamedTuple."""

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Raises UsageError, DataError."""


R = TypeVar("R", bound=Request)

# The data type that a request writes to. Flow control looks before a request is read, so fields
# may be of any type there: a request that is wrong is told so in its turn.
Writes = str | Callable[[Node, Fields], str]


def one(fields: Fields) -> int:
    return 1


@dataclass(frozen=True, slots=True)
class ControlOperation(Generic[R]):
    name: str
    request: type[R]
    carry_out: Callable[[Context, R, Instant], Result]
    writes: Writes
    cost: Callable[[Fields], int]  # updates that a request may write, for flow control

    def writes_to(self, node: Node, fields: Fields) -> str:
        """The data type; NOTHING or UNPACED if flow control is to let it pass."""
        return self.writes if isinstance(self.writes, str) else self.writes(node, fields)


def control_operation(
    request: type[R], *, writes: Writes, cost: Callable[[Fields], int] = one
) -> Callable[[Callable[[Context, R, Instant], Result]], ControlOperation[R]]:
    """Make a function an operation under its own name, but for a `_` at its end.

    What it writes has to be said, NOTHING too: else a write would escape flow control unseen.
    """

    def made(function: Callable[[Context, R, Instant], Result]) -> ControlOperation[R]:
        return ControlOperation(function.__name__.rstrip("_"), request, function, writes, cost)

    return made


class NoFields(NamedTuple):
    """Of an operation that asks for nothing."""

    @classmethod
    def read(cls, fields: Fields) -> "NoFields":
        return cls()
