"""The operations of the control protocol (docs/control.md), in one table. Synchronous and pure.

An operation gives an answer, an answer that waits until a write is on disk, a stream that others
draw from, or a condition to wait for. How these reach the client is control's business.

    control_operation   what an operation is      key      keys and values
    results             what it may give          model    models, whatever their type
                                                  event    emit, on
                                                  backup   models of somebody else's types
                                                  cluster  peers, members
                                                  daemon   the daemon itself
"""

from typing import Any

from scuttled.control import (
    backup_operations,
    cluster_operations,
    daemon_operations,
    event_operations,
    key_operations,
    model_operations,
)
from scuttled.control.context import Context, DaemonDoor
from scuttled.control.control_operation import ControlOperation
from scuttled.control.fields import Fields, number
from scuttled.control.results import Result
from scuttled.errors import UsageError
from scuttled.node.node import Node
from scuttled.replica.update import Instant
from scuttled.version import __version__

_MODULES = (
    key_operations,
    model_operations,
    event_operations,
    backup_operations,
    cluster_operations,
    daemon_operations,
)

OPERATIONS: dict[str, ControlOperation[Any]] = {
    found.name: found
    for module in _MODULES
    for found in vars(module).values()
    if isinstance(found, ControlOperation)
}


def operation_of(fields: Fields) -> ControlOperation[Any] | None:
    """The operation that a request asks for; None if there is no such one."""
    op = fields.get("op")
    return OPERATIONS.get(op) if isinstance(op, str) else None


class Requests:
    """Requests to one daemon."""

    def __init__(self, node: Node, daemon: DaemonDoor) -> None:
        self.context = Context(node, daemon)

    def carry_out(self, fields: Fields, now: Instant) -> Result:
        """Raises ScuttledError; then nothing was changed."""
        operation = operation_of(fields)
        if operation is None:
            raise UsageError(
                f"unknown operation {fields.get('op')!r:.60}",
                hint=f"this is scuttled {__version__}",
            )
        number(fields, "hold_ms", 0)  # of any write: flow control has looked at it
        request = operation.request.read(fields)
        return operation.carry_out(self.context, request, now)
