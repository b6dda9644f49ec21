r"""Characters that a terminal obeys, and the escapes that stand in their place. Pure.

A key, a name or a word may come from anybody, and ends on somebody's screen or in a journal.

    control     C0, DEL, C1, U+2028 and U+2029: they command a terminal, or begin a line
    format      Cf of Unicode, and the like: they turn text round (U+202E) or show as nothing
    surrogates  halves of pairs: they are no text, and can't be written

So a name with control characters is refused at the wire (no node of ours has one), words are
shown with escapes, and what holds anything by right, a key or a value, is escaped where it
becomes a cell or a line. Format characters are in honest names too (a zero-width joiner in
Persian, or in an emoji): they are never refused, only escaped.
"""

import re

CONTROL = "\x00-\x1f\x7f-\x9f\u2028\u2029"
FORMAT = (
    "\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e"
    "\u2060-\u206f\ufeff\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
SURROGATES = "\ud800-\udfff"
UNSAFE = f"{CONTROL}{FORMAT}{SURROGATES}"  # for a character class

# Given to `re` as text, which keeps what it has compiled: that takes 0.6 ms, and most commands
# meet nothing of this.
_CONTROL = f"[{CONTROL}]"
_UNSAFE = f"[{UNSAFE}]"


def has_control(text: str) -> bool:
    """True if a terminal would obey it, or take it for two lines. Cheap where all is usual."""
    return not text.isprintable() and re.search(_CONTROL, text) is not None


def one_line(text: str) -> str:
    r"""A sentence for people: one line, whatever it quotes. `\x1b`, `\u202e`, as Python has it."""
    return text if text.isprintable() else re.sub(_UNSAFE, _named, text)


def _named(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
