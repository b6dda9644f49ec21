"""`scuttled join`: give the running daemon more peers."""

from collections.abc import Iterable
from typing import Any

import click

from scuttled.cli import output
from scuttled.cli.commands.peers import STYLES
from scuttled.cli.options import verb
from scuttled.cli.settings import Settings
from scuttled.errors import ConfigError, Refused, UsageError

MOMENT_S = 3.0  # in which a peer that is there is up, and one that starts may be


@verb(
    "join",
    examples="""
        scuttled join db1
        scuttled join db1:7960 db2:7960 --save
        scuttled join db3 --timeout 1m
    """,
)
@click.argument("addresses", nargs=-1, required=True, metavar="ADDR...")
@click.option("--save", is_flag=True, help="Keep them over a restart of the daemon.")
def command(settings: Settings, addresses: tuple[str, ...], save: bool) -> None:
    """Add peers, and say whether they are up.

    ADDR is host, host:port or [address]:port. It waits a moment for that (3s, or --timeout), and
    ends with 1 if one of them is not; the daemon goes on trying. A name of several addresses is
    several peers, and up with one of them. `scuttled part ADDR` takes one back. In a pipe: lines
    of ADDRESS, added or known, STATE, NAME, PEER, WHY.
    """
    words = split_addresses(addresses)
    wait_s = settings.timeout_s or MOMENT_S
    with settings.connect() as client:
        try:
            done = client.request(
                "join", wait_s=wait_s + 5, addresses=words, save=save, wait_ms=round(wait_s * 1000)
            )
        except ConfigError as error:  # an argument is no configuration
            raise UsageError(error.message, hint=error.hint) from None
    rows = _rows(words, done)
    if settings.json:
        for row in rows:
            output.emit({key: value for key, value in row.items() if value is not None})
    elif settings.form == "plain":
        columns = ("address", "state", "link", "name", "peer", "reason")
        for row in rows:
            output.write(output.plain_line(row[column] for column in columns))
    else:
        _show(settings, rows)
    output.flush()
    _check(rows)


def split_addresses(addresses: Iterable[str]) -> list[str]:
    """As they are given: apart, or with commas between them. Raises UsageError."""
    words = [word.strip() for address in addresses for word in address.split(",") if word.strip()]
    if not words:
        raise UsageError("ADDR is missing: host, host:port or [address]:port")
    return list(dict.fromkeys(words))


def _rows(words: list[str], done: dict[str, Any]) -> list[dict[str, Any]]:
    """One for each peer; a daemon of before it said how it goes with them gives one an address."""
    states = {a: "added" for a in done["added"]} | {a: "known" for a in done["known"]}
    if "peers" not in done:
        words = list(states)
    found = {a: [p for p in done.get("peers", []) if p["address"] == a] for a in words}
    unknown = dict.fromkeys(("state", "name", "peer", "reason", "hint"))
    return [
        {
            "address": address,
            "state": states.get(address, "known"),
            "link": peer["state"],
            **{key: peer[key] for key in ("name", "peer", "reason", "hint")},
        }
        for address in words
        for peer in found[address] or [unknown]
    ]


def _show(settings: Settings, rows: list[dict[str, Any]]) -> None:
    cells = [
        [
            row["peer"] or row["address"],
            row["state"],
            row["link"] or "-",
            row["name"] or "-",
        ]
        for row in rows
    ]
    settings.show(["ADDRESS", "JOIN", "STATE", "NODE"], cells, {"added": "32", **STYLES})


def _check(rows: list[dict[str, Any]]) -> None:
    """Raises Refused if some address has no peer that is up, and says why."""
    up = {row["address"] for row in rows if row["link"] in ("up", None)}
    failed = [row for row in rows if row["address"] not in up]
    if failed:
        words = "; ".join(map(_why_not, failed))
        hints = [row["hint"] for row in failed if row["hint"]]
        trying = [row["address"] for row in failed if row["link"] != "self"]
        undo = f"scuttled part {failed[0]['address']} takes it back"
        if trying:
            words += "; it is dialled on"
        raise Refused(words, hint=hints[0] if hints else undo)


def _why_not(row: dict[str, Any]) -> str:
    name = row["peer"] or row["address"]
    if row["link"] == "self":
        return f"{name} is this very node"
    state = "refused" if row["link"] == "refused" else "not up"
    return f"{name} is {state}: {row['reason'] or 'no answer yet'}"
