"""`scuttled peers`: the nodes this one is linked with, or would like to be."""

import time
from typing import Any

from scuttled.cli import output
from scuttled.cli.formatting import rfc3339
from scuttled.cli.options import verb
from scuttled.cli.settings import Settings
from scuttled.units import format_duration

HEADER = ["NODE", "ADDRESS", "STATE", "RTT", "LAG", "SEEN", "VERSION"]
STYLES = {
    "up": "32",
    "connecting": "33",
    "refused": "31",
    "down": "31",
    "never": "33",
    "npm": "32",
    "npm-down": "31",
    "npm-gone": "33",
}
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
    "hint",
    "configured",
)


@verb("peers", examples="scuttled peers\nscuttled peers -j")
def command(settings: Settings) -> None:
    """Show this node and its peers.

    LAG is what the peer has not yet acknowledged: updates, and for how long. STATE is self, up,
    connecting, refused, down or never; of an npm peer npm, npm-down (we dial it) or npm-gone (it
    left something behind). A name of several addresses is several peers. Why one is not up, or what
    an npm peer and we left out, and what helps, stands below it. In a pipe: lines of NAME NODE
    ADDRESS STATE RTT_MS LAG LAG_MS SEEN_MS VERSION WHY HINT CONFIGURED; what is not known is empty.
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
        show(settings, peers)


def show(settings: Settings, peers: list[dict[str, Any]]) -> None:
    """The table."""
    now_ms = int(time.time() * 1000)
    cells = [_cells(settings, peer, now_ms) for peer in peers]
    settings.show(HEADER, cells, STYLES, notes=[_notes(peer) for peer in peers])


def fields(peer: dict[str, Any]) -> dict[str, Any]:
    """A peer's JSON object: the daemon's fields, and its time for people."""
    seen_ms = peer.get("seen_ms")
    return {**peer, "seen": rfc3339(seen_ms)} if seen_ms else peer


def _notes(peer: dict[str, Any]) -> list[str]:
    """Why it is not up, and what helps, in lines below its row."""
    pairs = (("why", peer.get("reason")), ("hint", peer.get("hint")))
    return [f"{word}: {text}" for word, text in pairs if text]


def _cells(settings: Settings, peer: dict[str, Any], now_ms: int) -> list[str]:
    """A row of the table; a dash is what is not known."""
    return [
        settings.label(peer.get("name"), peer.get("node")),
        _address(peer),
        peer["state"],
        _rtt(peer.get("rtt_ms")),
        _lag(peer),
        _seen(peer, now_ms),
        peer.get("version") or "-",
    ]


def _address(peer: dict[str, Any]) -> str:
    """With the name that led there, if it leads elsewhere, too."""
    address = peer.get("address") or "-"
    configured = peer.get("configured")
    return f"{address} ({configured})" if configured not in (None, "", address) else address


def _rtt(ms: float | None) -> str:
    if ms is None:
        return "-"
    return f"{ms:.1f} ms" if ms < 10 else f"{ms:.0f} ms"


def _lag(peer: dict[str, Any]) -> str:
    lag = peer.get("lag")
    lag_ms = peer.get("lag_ms")
    if lag is None:
        return "-"
    return f"{lag:,} ({format_duration(lag_ms / 1000)})" if lag and lag_ms else f"{lag:,}"


def _seen(peer: dict[str, Any], now_ms: int) -> str:
    seen_ms = peer.get("seen_ms")
    if not seen_ms:
        return "-"
    age_s = max(now_ms - seen_ms, 0) / 1000
    return "now" if age_s < 1 else format_duration(age_s)
