"""Models of a type of somebody else's in an export: by their updates.

    {"v":1,"model":"best","type":"longest","updates":[["aGVsbG8=",7353964380160001,"0a1b.1"]],
     "clock":{"0a1b.1":7353964380160001}}

What they mean only a daemon knows that was started with `--types`. So one that does not know the
type takes the rest, and says what it has left out.
"""

import base64
from collections.abc import Mapping
from typing import Any

from scuttled.cli.formatting import from_base64
from scuttled.client.client import Client
from scuttled.errors import Refused

Fields = dict[str, Any]

TIME_MAX = 2**63 - 1


def section(client: Client, model: Mapping[str, Any]) -> Fields:
    """Its line in an export. Raises ScuttledError if it can't be got: it is to be left out."""
    got = client.request("updates", model=model["name"])
    updates = [
        [base64.b64encode(change).decode(), time, source] for change, time, source in got["updates"]
    ]
    clock = got["clock"]
    return {"model": model["name"], "type": model["type"], "updates": updates, "clock": clock}


def is_section(fields: Fields) -> bool:
    """True if such a line holds what it should."""
    updates = fields.get("updates")
    clock = fields.get("clock")
    return (
        isinstance(updates, list)
        and all(map(_is_update, updates))
        and isinstance(clock, dict)
        and all(map(_is_time, clock.values()))
    )


def _is_update(row: object) -> bool:
    match row:
        case [str(change), int(time), str()] if _is_time(time):
            try:
                from_base64(change)
            except ValueError:
                return False
            return True
    return False


def _is_time(value: object) -> bool:
    return type(value) is int and 0 <= value <= TIME_MAX


def merge(
    client: Client, model: str, fields: Fields, *, replace: bool, dry_run: bool
) -> dict[str, int]:
    """Give it to the daemon; what became of its updates. Raises ScuttledError, nothing done."""
    if "updates" not in fields:
        raise Refused(f"of the data type '{fields['type']:.40}' this file holds no updates")
    updates = [[from_base64(change), time, source] for change, time, source in fields["updates"]]
    done: dict[str, int] = client.request(
        "merge",
        model=model,
        type=fields["type"],
        updates=updates,
        clock=fields["clock"],
        replace=replace,
        dry_run=dry_run,
    )
    return done
