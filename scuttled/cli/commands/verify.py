"""`scuttled verify`: do nodes that agree on their clocks hold the same?"""

import time
from typing import Any

import click

from scuttled.cli import output
from scuttled.cli.options import verb
from scuttled.cli.settings import Settings
from scuttled.client.client import Client
from scuttled.errors import Refused, TimedOut
from scuttled.units import format_duration

_TIMEOUT_S = 30.0  # for a million keys, and for what is under way to arrive
_AGAIN_S = 0.2
_STYLES = {"same": "32", "behind": "33", "silent": "33", "differs": "31"}
_SHOWN_MAX = 5  # keys in a table; all of them with -j


@verb(
    "verify",
    examples="""
        scuttled verify
        scuttled -m default verify -j
        scuttled verify --repair
    """,
)
@click.option("--repair", is_flag=True, help="Exchange all of it with every peer first.")
def command(settings: Settings, repair: bool) -> None:
    """Compare clocks and content with every linked peer.

    Of every model, or of -m MODEL. Exits with 1 if two nodes agree on their clocks but not on the
    content, which should never be, and names the keys; with 75 if updates were under way for all
    of --timeout (30s). --repair has both ends send each other everything, merged as ever: the
    later write of each key stays, and nothing is deleted. In a pipe: lines of MODEL PEER NODE
    STATE KEYS, where STATE is same, differs, behind (updates were under way) or silent.
    """
    until = time.monotonic() + (settings.timeout_s or _TIMEOUT_S)
    model = settings.named_model
    with settings.connect() as client:
        if repair:
            wait_ms = int(_left(until) * 1000)
            client.request("verify", wait_s=None, model=model, repair=True, wait_ms=wait_ms)
        findings = _compare(client, model, until)
    _show(settings, findings)
    _judge(findings, settings.timeout_s or _TIMEOUT_S)


def _compare(client: Client, model: str, until: float) -> list[dict[str, Any]]:
    """Again and again while clocks differ, since updates are under way; and once more before it
    is said that contents do: an update may be there before its clock is.
    """
    doubted = False
    while True:
        left_s = _left(until)
        done = client.request("verify", wait_s=left_s + 2, model=model, wait_ms=int(left_s * 1000))
        findings: list[dict[str, Any]] = done["findings"]
        states = {finding["state"] for finding in findings}
        moving = states & {"behind", "silent"} or ("differs" in states and not doubted)
        doubted = "differs" in states
        if not moving or time.monotonic() + _AGAIN_S >= until:
            return findings
        time.sleep(_AGAIN_S)


def _left(until: float) -> float:
    return max(until - time.monotonic(), 0.01)


def _show(settings: Settings, findings: list[dict[str, Any]]) -> None:
    findings.sort(key=lambda found: (found["model"], found["name"]))
    if settings.json:
        for found in findings:
            output.emit(found)
    elif settings.form == "plain":
        for found in findings:
            columns = [found[name] for name in ("model", "name", "node", "state")]
            output.write(output.plain_line([*columns, " ".join(found["keys"])]))
    elif findings:
        settings.show(["MODEL", "PEER", "STATE", "KEYS"], [_cells(f) for f in findings], _STYLES)
    if not findings:
        settings.say("no peer is linked: nothing to compare with")


def _cells(found: dict[str, Any]) -> list[str]:
    keys = found["keys"][:_SHOWN_MAX]
    more = ["..."] if found["more"] or len(found["keys"]) > _SHOWN_MAX else []
    return [found["model"], found["name"], found["state"], " ".join(keys + more)]


def _judge(findings: list[dict[str, Any]], timeout_s: float) -> None:
    wrong = [found for found in findings if found["state"] == "differs"]
    if wrong:
        names = ", ".join(sorted({f"{f['model']} with {f['name']}" for f in wrong}))
        raise Refused(
            f"clocks agree, and contents do not: {names}", hint="scuttled verify --repair"
        )
    open_ones = [found for found in findings if found["state"] != "same"]
    if open_ones:
        names = ", ".join(sorted({f"{f['model']} with {f['name']}" for f in open_ones}))
        raise TimedOut(f"not compared within {format_duration(timeout_s)}: {names}")
