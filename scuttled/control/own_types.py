"""Types of one's own, shown to a watch: by their `told` and their `history`.

What they do is somebody else's code, which must not end the daemon (I8): where it fails, an update
is shown as it came.
"""

import json

from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.update import Source, Update
from scuttled.replica.version_vector import Clock

Held = set[tuple[int, Source]]  # ranks


def held_by(model: Scuttlebutt) -> Held | None:
    """Ranks of what a type's own history holds; None if it can't tell."""
    try:
        return {(update.timestamp, update.source) for update in model.history(Clock())}
    except Exception:
        return None


def shown_change(model: Scuttlebutt, update: Update) -> tuple[bytes, str, bytes]:
    """Key, kind and value of an update as its type tells it, or if it can't, as it came."""
    try:
        key, value = model.told(update)
        return _bytes_of(str(key)), *_kept(value)
    except Exception:
        key, value = Scuttlebutt.told(model, update)
        return _bytes_of(key), *_kept(value)


def _kept(value: object) -> tuple[str, bytes]:
    """Kind and bytes of what a type told."""
    if value is None:
        return "deleted", b""
    if isinstance(value, str):
        return "text", _bytes_of(value)
    if isinstance(value, bytes):
        try:
            value.decode()
        except UnicodeDecodeError:
            return "bytes", value
        return "text", value
    return "json", json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace")


def _bytes_of(text: str) -> bytes:
    return text.encode(errors="backslashreplace")
