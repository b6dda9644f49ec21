"""What each operation of the control protocol does (docs/control.md). Synchronous and pure.

An operation gives an answer, an answer that waits until a write is on disk, a stream that others
draw from, or a condition to wait for. How these reach the client is control's business.

    results   what an operation gives        data      models, keys and values
                                             backup    models of somebody else's types
                                             cluster   peers, members, status
"""

from collections.abc import Callable

from scuttled.client import protocol
from scuttled.control.backup_operations import BackupOperations
from scuttled.control.cluster_operations import ClusterOperations
from scuttled.control.data_operations import DataOperations
from scuttled.control.results import (
    Answer,
    DaemonDoor,
    Fields,
    Result,
    Waiting,
    model_list,
    number,
    text,
)
from scuttled.errors import NoCommonProtocol, UsageError
from scuttled.node.node import Node
from scuttled.replica.update import Instant
from scuttled.version import __version__

__all__ = ["Answer", "DaemonDoor", "Requests", "Result", "Waiting", "model_list"]


class Requests(DataOperations, BackupOperations, ClusterOperations):
    """The operations of one daemon, by name."""

    def __init__(self, node: Node, daemon: DaemonDoor) -> None:
        self.node = node
        self.daemon = daemon
        self._ops: dict[str, Callable[[Fields, Instant], Result]] = {
            name.removeprefix("op_"): getattr(self, name)
            for name in dir(self)
            if name.startswith("op_")
        }

    def carry_out(self, request: Fields, now: Instant) -> Result:
        """Raises ScuttledError; then nothing was changed."""
        op = request.get("op")
        found = self._ops.get(op) if isinstance(op, str) else None
        if found is None:
            raise UsageError(
                f"unknown operation {op!r:.60}", hint=f"this is scuttled {__version__}"
            )
        number(request, "hold_ms", 0)  # of any write: what pacing reads
        return found(request, now)

    # --- hello ---

    def op_hello(self, request: Fields, now: Instant) -> Answer:
        asked = request.get("protocol")
        text(request, "client", "")
        oldest, newest = protocol.VERSIONS
        if not isinstance(asked, list) or [type(n) for n in asked] != [int, int]:
            raise UsageError(f"hello with protocol {asked!r:.60}, expected [oldest, newest]")
        common = min(newest, asked[1])
        if common < max(oldest, asked[0]):
            raise NoCommonProtocol(
                f"the client speaks control protocol {asked[0]} to {asked[1]}, "
                f"the daemon {oldest} to {newest}",
                hint="client and daemon are of different versions: scuttled version",
            )
        mine = self.node.settings
        return Answer(
            {
                "protocol": common,
                "node": self.node.author.node_id.hex(),
                "name": mine.name,
                "version": __version__,
                "incarnation": mine.incarnation.hex(),
                "cluster": mine.cluster,
                "namesakes": sorted(self.node.members.namesakes(now.wall_ms)),
            }
        )
