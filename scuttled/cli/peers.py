"""`scuttled peers`: the nodes this one is linked with, or would like to be."""

import time
from typing import Any

from scuttled.cli import output
from scuttled.cli.options import Settings, verb
from scuttled.cli.text import rfc3339
from scuttled.units import format_duration

HEADER = ["NODE", "ADDRESS", "STATE", "RTT", "LAG", "SEEN", "VERSION", "WHY"]
STYLES = {"up": "32", "connecting": "33", "refused": "31", "down": "31", "never": "33"}
_COLUMNS = (
    "name",
    "node",
    "address",
    "state",
    "rtt_ms",
    "lag",
    "lag_ms",
    "seen_ms",
    "version",
    "reason",
)


@verb("peers", examples="scuttled peers\nscuttled peers -j")
def command(settings: Settings) -> None:
    """Show this node and its peers.

    LAG is what the peer has not yet acknowledged: updates, and for how long. STATE is self, up,
    connecting, refused, down or never. In a pipe: lines of NAME NODE ADDRESS STATE RTT_MS LAG
    LAG_MS SEEN_MS VERSION WHY; what is not known is empty.
    """
    with settings.connect() as client:
        peers = client.request("peers")["peers"]
    if settings.json:
        for peer in peers:
            output.emit(fields(peer))
    elif settings.form == "plain":
        for peer in peers:
            output.write(output.plain_line(peer.get(column) for column in _COLUMNS))
    else:
        settings.show(HEADER, rows(peers, int(time.time() * 1000)), STYLES)


def fields(peer: dict[str, Any]) -> dict[str, Any]:
    """A peer's JSON object: the daemon's fields, and its time for people."""
    seen_ms = peer.get("seen_ms")
    return {**peer, "seen": rfc3339(seen_ms)} if seen_ms else peer


def rows(peers: list[dict[str, Any]], now_ms: int) -> list[list[str]]:
    """Table rows; a dash is what is not known."""
    return [
        [
            peer.get("name") or peer.get("node") or "-",
            peer.get("address") or "-",
            peer["state"],
            _rtt(peer.get("rtt_ms")),
            _lag(peer),
            _seen(peer, now_ms),
            peer.get("version") or "-",
            peer.get("reason") or "",
        ]
        for peer in peers
    ]


def _rtt(ms: float | None) -> str:
    if ms is None:
        return "-"
    return f"{ms:.1f} ms" if ms < 10 else f"{ms:.0f} ms"


def _lag(peer: dict[str, Any]) -> str:
    lag, lag_ms = peer.get("lag"), peer.get("lag_ms")
    if lag is None:
        return "-"
    return f"{lag:,} ({format_duration(lag_ms / 1000)})" if lag and lag_ms else f"{lag:,}"


def _seen(peer: dict[str, Any], now_ms: int) -> str:
    seen_ms = peer.get("seen_ms")
    if not seen_ms:
        return "-"
    age_s = max(now_ms - seen_ms, 0) / 1000
    return "now" if age_s < 1 else format_duration(age_s)
