"""A model worth a backup, and all that is known of its keys."""

from typing import Any

from support.fleet import Daemon

VALUES = {
    "empty": b"",
    "negative": b"-5",
    "newline": b"one\ntwo\n",
    "tabs\tand \\ more": b"a\tb\\n",
    "unicode/grüße": "🎉".encode(),
    "bytes": bytes(range(256)),
    "large": b"x" * (512 << 10),
    "svc/a": b"1",
    "svc/b": b"2",
    "svcs": b"3",
}
JSON_TEXT = '{"n": 1.0e5,  "u": "\\u00fc", "l": [null, true]}'


def fill(daemon: Daemon, model: str) -> None:
    values = {key: ("text", value) for key, value in VALUES.items()}
    values |= {"bytes": ("bytes", VALUES["bytes"]), "json": ("json", JSON_TEXT.encode())}
    with daemon.client() as client:
        for key, (kind, value) in values.items():
            client.request("set", model=model, key=key, kind=kind, value=value)
    daemon.cli("-m", model, "set", "later", "v", "--ttl", "1h")
    daemon.cli("-m", model, "set", "gone", "v")
    daemon.cli("-m", model, "del", "gone")


def held(daemon: Daemon, model: str) -> dict[str, dict[str, Any]]:
    """Keys with all that is known of them but who wrote them when."""
    own = ("rev", "node", "name", "time", "time_ms", "model")
    rows = daemon.json("-m", model, "ls")
    return {row["key"]: {n: v for n, v in row.items() if n not in own} for row in rows}
