"""Predicates for keys, of the patterns that a client asks with (client/patterns)."""

import re
from collections.abc import Callable

from scuttled.client.patterns import parse_pattern
from scuttled.errors import UsageError

PATTERNS_MAX = 100
PATTERN_BYTES_MAX = 4096  # as a key

Match = Callable[[bytes], bool]


def matcher(pattern: str) -> Match:
    """True of a key that the pattern means. Raises UsageError."""
    text = pattern.encode("utf-8", "surrogateescape")
    meant = parse_pattern(text[: 2 * PATTERN_BYTES_MAX + 1])
    if meant.size > PATTERN_BYTES_MAX:
        raise UsageError(f"a pattern of {len(text)} bytes, at most {PATTERN_BYTES_MAX}")
    literal = meant.literal
    if meant.glob:
        found = re.compile(meant.glob, re.DOTALL).fullmatch
        return lambda slot: found(slot) is not None
    if meant.is_prefix:
        return lambda slot: slot.startswith(literal)
    return lambda slot: slot == literal


def any_matcher(patterns: list[str]) -> Match:
    """True of a key that any of them means, or of every key if there are none."""
    if len(patterns) > PATTERNS_MAX:
        raise UsageError(f"{len(patterns)} patterns, at most {PATTERNS_MAX}")
    if not patterns:
        return matcher("")
    matches = [matcher(pattern) for pattern in patterns]
    if len(matches) == 1:
        return matches[0]
    return lambda slot: any(match(slot) for match in matches)
