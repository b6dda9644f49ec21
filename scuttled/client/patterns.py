r"""Patterns of keys, as `ls` and `watch` take them. Pure.

    svc/      ends in a slash: every key that begins so
    db?/*     with * or ?: a glob, of the whole key; ? is one byte, * any number
    svc/web   else: that very key; "" is every key

A backslash takes what follows for itself: `a\*b`, `dir\/` and `\\` name one key each. So it does
before * ? \ / = and -; before anything else it stands for itself.
"""

import re
from typing import NamedTuple

_TOKEN = re.compile(rb"\\[*?\\/=-]|.", re.DOTALL)


class Pattern(NamedTuple):
    """A pattern, read: one key, the beginning of keys, or a regular expression."""

    literal: bytes = b""  # the key, or the prefix
    is_prefix: bool = False
    glob: bytes = b""  # "" if it is none
    size: int = 0  # bytes without the backslashes that escape


def parse_pattern(text: bytes) -> Pattern:
    tokens: list[bytes] = _TOKEN.findall(text)
    if b"*" in tokens or b"?" in tokens:
        return Pattern(glob=_glob(tokens), size=len(tokens))
    literal = b"".join(token[-1:] for token in tokens)
    is_prefix = not tokens or tokens[-1] == b"/"
    return Pattern(literal, is_prefix, size=len(tokens))


def _glob(tokens: list[bytes]) -> bytes:
    """As a regular expression in which a star gives nothing back: what stands between two of them
    is found where it comes first. Else a few stars and a long key take for ever.
    """
    parts: list[bytes] = [b""]
    for before, token in zip([b"", *tokens], tokens, strict=False):
        if token != b"*":
            parts[-1] += b"." if token == b"?" else re.escape(token[-1:])
        elif before != b"*":
            parts.append(b"")
    first, *rest = parts
    if not rest:
        return first
    return first + b"".join(b"(?>.*?%b)" % part for part in rest[:-1]) + b".*" + rest[-1]


def is_pattern(text: str) -> bool:
    """True if it may mean more than one key."""
    meant = parse_pattern(text.encode("utf-8", "surrogateescape"))
    return bool(meant.glob) or meant.is_prefix


def prefix_of(text: str) -> str:
    """The beginning of all keys that such a pattern means; "" if it is no prefix."""
    meant = parse_pattern(text.encode("utf-8", "surrogateescape"))
    return meant.literal.decode("utf-8", "surrogateescape") if meant.is_prefix else ""


def escaped(key: str) -> str:
    """The pattern that means this very key."""
    return re.sub(r"[*?\\]|/\Z", r"\\\g<0>", key)


def unescaped(text: str) -> str:
    """The key that was meant by who escaped it."""
    return re.sub(r"\\([*?\\/=-])", r"\1", text)


def split_at_equals(text: str) -> tuple[str, str | None]:
    """`KEY=VALUE` at the first = that is not escaped; the key as it is meant."""
    found = re.match(r"(?:\\[*?\\/=-]|[^=])*", text, re.DOTALL)
    end = found.end() if found else 0
    return unescaped(text[:end]), text[end + 1 :] if end < len(text) else None


def at_least(prefix: str) -> str:
    """A pattern that means every key that begins so, and maybe others, to any daemon: one of before
    took a backslash for itself. `?` is either.
    """
    return prefix.replace("\\", "?") + "*"
