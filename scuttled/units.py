"""Durations as people write them: `500ms`, `1h30m`.

One room for the configuration, the command line and the daemon, so that a unit means the same
everywhere. It imports next to nothing, because every command pays for it.
"""

import re

from scuttled.errors import UsageError

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
SECONDS_MAX = 100 * 366 * 86400.0  # a hundred years; whoever writes more means something else
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_DURATION_PART = rf"({_NUMBER})(ms|s|m|h|d)"


def parse_duration(text: str) -> float:
    """Seconds. `500ms`, `5s`, `2m`, `1h`, `7d`, and sums such as `1h30m`; `0` needs no unit.

    Any other bare number is refused: the neighbours disagree whether `5` is 5 s or 5 ms.
    Raises UsageError.
    """
    word = text.strip()
    if word == "0":
        return 0.0
    if not re.fullmatch(f"(?:{_DURATION_PART})+", word):
        raise UsageError(f"{text!r} is not a duration: write it like 500ms, 5s, 2m, 1h or 7d")
    parts = re.findall(_DURATION_PART, word)
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if seconds > SECONDS_MAX:
        most = format_duration(SECONDS_MAX)
        raise UsageError(f"{text:.40} is too long for a duration: at most {most}, a hundred years")
    return seconds


def format_duration(seconds: float) -> str:
    """For people: the greatest unit and, from minutes on, the one below it: `3h 12m`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    whole = max(int(seconds), 1)
    if whole < 60:
        return f"{whole}s"
    for size, unit, below, name in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size}{unit} {rest}{name}" if rest else f"{whole // size}{unit}"
    raise AssertionError(whole)


def format_bytes(count: float) -> str:
    """For people, in thousands as disks and networks are sold: `812 B`, `3.1 MB`."""
    if count < 1000:
        return f"{count:.0f} B"
    for size, unit in ((1e3, "kB"), (1e6, "MB")):
        if count < 999.95 * size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e9:.1f} GB"
