"""Real daemons with a door to npm peers, and what they hold and tell of those."""

import json
from typing import Any

from support.fleet import Daemon, Fleet
from support.waiting import until


def bridged(
    fleet: Fleet, name: str = "a", target: str = "default", **more: Any
) -> tuple[Daemon, str]:
    """A daemon that shares a model with npm peers, and how they reach it."""
    address = fleet.address(f"{name}-npm")
    daemon = fleet.daemon(name, args=["--npm", f"{address}={target}"], **more)
    return daemon, f"connect:{address.rpartition(':')[2]}"


def values(daemon: Daemon, model: str = "default") -> Any:
    return json.loads(daemon.cli("-m", model, "get").stdout)


def holds(daemon: Daemon, expected: Any, model: str = "default") -> None:
    until(lambda: values(daemon, model) == expected, f"{daemon.name} to hold {expected!r:.200}")


def npm_rows(daemon: Daemon) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in daemon.ask("peers")["peers"] if "npm" in row}
