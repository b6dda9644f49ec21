"""Causes of lines that can't be imported: what each may be instead, and the way out. Pure."""

from typing import NamedTuple

UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_GZIP = b"\x1f\x8b"


class Cause(NamedTuple):
    """Words for the error, and a hint that can be pasted."""

    words: str
    hint: str


def of_any(line: bytes) -> Cause | None:
    """The cause of what is no line of text at all, and may be met in either form."""
    if line.startswith(_GZIP):
        return Cause("this is compressed", "gunzip -c FILE | scuttled import -")
    if line.startswith(_UTF16_MARKS) or 3 * line.count(b"\0") > len(line):
        return Cause(
            "this is UTF-16, and UTF-8 is read",
            "iconv -f UTF-16 -t UTF-8 FILE | scuttled import -",
        )
    if b"\0" in line:
        return Cause("a NUL byte, which no line of text has", "in --tsv it is written \\x00")
    return None


def of_json(number: int, line: bytes) -> Cause:
    """The cause of a line that is no JSON object."""
    text = line.strip()
    cause = of_any(line)
    if cause is not None:
        return cause
    if text.startswith(UTF8_MARK):
        return Cause(
            "a byte order mark in the midst of the file",
            "two files that were joined: import one after the other",
        )
    if text.startswith(b"["):
        return Cause(
            "not a JSON object but an array: one object a line is read",
            "jq -c '.[]' FILE | scuttled import -",
        )
    if not _is_utf8(text):
        return Cause(
            "not a JSON object, and not UTF-8",
            "iconv -f LATIN1 -t UTF-8 FILE | scuttled import -, if it is Latin-1",
        )
    if b"\r" in text:
        return Cause(
            "lines that end in a carriage return alone", r"tr '\r' '\n' < FILE | scuttled import -"
        )
    if text.startswith(b"{") and not text.endswith(b"}"):
        return Cause("not a JSON object, or not in one line", "jq -c . FILE | scuttled import -")
    if b"\t" in text and not text.startswith(b"{"):
        return Cause(
            "not a JSON object", "for lines of KEY, a tab and VALUE: scuttled import --tsv FILE"
        )
    return Cause("not a JSON object", "")


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def of_object(names: list[str]) -> Cause:
    """The cause of an object that has no key."""
    if names and "value" not in names and "value_b64" not in names:
        return Cause(
            'no "key" that is text: an object of keys and values?',
            "jq -c 'to_entries[]' FILE | scuttled import -",
        )
    return Cause('no "key" that is text', "")


def of_tabs(columns: int, line: bytes) -> Cause:
    """The cause of a line that has not two columns."""
    what = "no tab" if columns == 1 else f"{columns} columns"
    words = f"{what}, where KEY, a tab and VALUE should be"
    if line.startswith(b"{"):
        return Cause(words, "for JSON lines: scuttled import FILE, without --tsv")
    if b"\r" in line:
        return Cause(words, r"tr '\r' '\n' < FILE | scuttled import --tsv -")
    return Cause(words, "")
