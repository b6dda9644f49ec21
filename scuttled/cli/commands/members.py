"""`scuttled members`: every node of the cluster, linked or not."""

import time
from typing import Any

from scuttled.cli import output
from scuttled.cli.formatting import rfc3339
from scuttled.cli.options import verb
from scuttled.cli.settings import Settings
from scuttled.units import format_duration

_HEADER = ["NAME", "NODE", "STATE", "LAG", "SEEN", "LIFE", "ADDRESS", "VERSION"]
_STYLES = {"up": "32", "seen": "32", "silent": "33", "forgotten": "31"}
_COLUMNS = ("name", "node", "state", "lag", "seen_ms", "life", "address", "version")


@verb("members", examples="scuttled members\nscuttled members -j")
def command(settings: Settings) -> None:
    """Show every node of the cluster, as far as this node knows.

    STATE is self, up (linked with this node), seen (not linked, but heard of lately), silent, or
    forgotten (silent for so long that deletions no longer wait for it). LAG is how many of this
    node's updates it does not have on disk. In a pipe: lines of NAME NODE STATE LAG SEEN_MS LIFE
    ADDRESS VERSION.
    """
    with settings.connect() as client:
        members = client.request("members")["members"]
    if settings.json:
        for member in members:
            output.emit({**member, "seen": rfc3339(member["seen_ms"])})
    elif settings.form == "plain":
        for member in members:
            output.write(output.plain_line(member.get(column) for column in _COLUMNS))
    else:
        now_ms = int(time.time() * 1000)
        cells = [_cells(member, now_ms) for member in members]
        settings.show(_HEADER, cells, _STYLES)


def _cells(member: dict[str, Any], now_ms: int) -> list[str]:
    age_s = max(now_ms - member["seen_ms"], 0) / 1000
    behind = ", ".join(f"{name} {count:,}" for name, count in member["behind"].items())
    return [
        member["name"] or "-",
        member["node"],
        member["state"],
        behind or "0",
        "now" if age_s < 1 else format_duration(age_s),
        str(member["life"]),
        member["address"] or "-",
        member["version"] or "-",
    ]
