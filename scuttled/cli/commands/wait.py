"""`scuttled wait`: block until the daemon, its peers or a key are as wished."""

import os
import time

import click

from scuttled.cli import output
from scuttled.cli.candidates import complete_patterns
from scuttled.cli.options import verb
from scuttled.cli.settings import Settings
from scuttled.client.client import TIMEOUT_S, Client
from scuttled.client.patterns import split_at_equals
from scuttled.errors import TimedOut, Unavailable, UsageError
from scuttled.units import format_duration

_RETRY_S = 0.05  # a socket that is not there can't tell when it comes
_GRACE_S = 1.0  # for the daemon to say that time is over, and what is missing


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Keys, as --key has them."""
    return [key.replace("=", r"\=") for key in complete_patterns(ctx, param, incomplete)]


@verb(
    "wait",
    examples="""
        scuttled wait --up --timeout 10s
        scuttled wait --peers 2 --synced --timeout 1m
        scuttled set svc/web ready && scuttled wait --key svc/web=ready
    """,
)
@click.option("--up", is_flag=True, help="Until the daemon answers.")
@click.option("--peers", type=click.IntRange(0), metavar="N", help="Until N peers are up.")
@click.option("--synced", is_flag=True, help="Until we and all peers and members hold the same.")
@click.option(
    "--key", metavar="K[=V]", shell_complete=_complete, help="Until key K is there, with V."
)
def command(settings: Settings, up: bool, peers: int | None, synced: bool, key: str | None) -> None:
    r"""Wait until all that is named holds.

    K ends at the first =. A backslash before = * ? / \ or - takes it as it is: --key 'a\=b=1' is
    the key a=b with the value 1.

    There is no limit unless --timeout (or SCUTTLED_TIMEOUT) gives one, here for the whole of it;
    when it is over the exit code is 75. A daemon that restarts meanwhile is waited for; one that
    was not there to begin with only with --up.
    """
    conditions = _conditions(settings, peers, synced, key)
    if not (up or conditions):
        raise UsageError("nothing to wait for: name --up, --peers, --synced or --key")
    limit_s = settings.timeout_s
    until = None if limit_s is None else time.monotonic() + limit_s
    patient = up
    try:
        while True:
            away = _away(settings, conditions, until, patient=patient)
            if away is None:
                break
            if not patient:
                settings.say(f"scuttled: {away.message}: waiting for it to come back")
            patient = True
            if until is not None and time.monotonic() >= until:
                raise TimedOut(away.message)
            time.sleep(_RETRY_S)
    except TimedOut as error:
        if limit_s is None:
            raise  # the daemon is there but hangs
        words = f"waited {format_duration(limit_s)} in vain: {error.message}"
        raise TimedOut(words, hint=error.hint) from None
    if settings.json:
        output.emit({"ok": True})


def _conditions(
    settings: Settings, peers: int | None, synced: bool, key: str | None
) -> dict[str, object]:
    """The fields of the request; {} if only the daemon itself is awaited."""
    fields: dict[str, object] = {}
    if peers is not None:
        fields["peers"] = peers
    if synced:
        fields["synced"] = True
    if key is not None:
        name, value = split_at_equals(key)
        fields |= {"model": settings.model, "key": name}
        if value is not None:
            fields["value"] = os.fsencode(value)
    return fields


def _away(
    settings: Settings, conditions: dict[str, object], until: float | None, *, patient: bool
) -> Unavailable | TimedOut | None:
    """One attempt; None once all holds, else why the daemon was not there, if we may be `patient`,
    or why it went away.

    Raises TimedOut, with what is missing, once `until` is over.
    """
    met = False
    try:
        with Client.connect(settings.paths(), _left(until, TIMEOUT_S)) as client:
            client.hello()
            met = True
            if settings.verbose:
                output.say(f"scuttled: connected to {client.path}")
            if conditions:
                _wait_for(client, conditions, until)
            return None
    except Unavailable as error:
        if not (patient or met):
            raise
        return error
    except TimedOut as error:
        if until is None or not patient:
            raise
        return error


def _wait_for(client: Client, conditions: dict[str, object], until: float | None) -> None:
    """Until all that is named holds; the daemon says what is missing when time is over."""
    left_s = _left(until, None)
    if left_s is None:
        client.request("wait", wait_s=None, **conditions)
    else:
        wait_ms = max(round(left_s * 1000), 1)
        client.request("wait", wait_s=left_s + _GRACE_S, wait_ms=wait_ms, **conditions)


def _left(until: float | None, default: float | None) -> float | None:
    if until is None:
        return default
    return max(until - time.monotonic(), 0.001)
