r"""Patterns of keys, as `ls` and `watch` take them. Pure.

    svc/      ends in a slash: every key that begins so
    db?/*     with * or ?: a glob, of the whole key; ? is one byte, * any number
    svc/web   else: that very key; "" is every key

A backslash takes what follows for itself: `a\*b`, `dir\/` and `\\` name one key each. So it does
before * ? \ / = and -; before anything else it stands for itself.
"""

import re
from typing import NamedTuple

ESCAPABLE = rb"*?\/=-"

_TOKEN = re.compile(rb"\\[*?\\/=-]|.", re.DOTALL)
_SPECIAL = re.compile(r"[*?\\]|/\Z")


class Pattern(NamedTuple):
    """What a pattern means: one key, the beginning of keys, or a regular expression."""

    literal: bytes = b""  # the key, or the prefix
    is_prefix: bool = False
    glob: bytes = b""  # "" if it is none


def parse_pattern(text: bytes) -> Pattern:
    """What a pattern means."""
    tokens: list[bytes] = _TOKEN.findall(text)
    if b"*" in tokens or b"?" in tokens:
        return Pattern(glob=_glob(tokens))
    literal = b"".join(token[-1:] for token in tokens)
    return Pattern(literal, is_prefix=not tokens or tokens[-1] == b"/")


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


def unescaped(text: str) -> str:
    """A literal, as it was meant by who escaped it."""
    return re.sub(r"\\([*?\\/=-])", r"\1", text)


def escaped(key: str) -> str:
    """The pattern that means this very key."""
    return _SPECIAL.sub(r"\\\g<0>", key)


def at_least(prefix: str) -> str:
    """A pattern that matches every key that begins so, and maybe others, in any version.

    A daemon of before took backslashes for themselves. `?` stands for one of either meaning.
    """
    return "".join("?" if char == "\\" else char for char in prefix) + "*"
