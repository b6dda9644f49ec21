"""The configuration file: TOML, with the line of every key for those who must mend it.

tomllib tells lines only for errors of syntax. A file that parses is simple enough to look the
lines up in its text afterwards.
"""

import os
import re
import select
import stat
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from scuttled.config.settings import SETTINGS, did_you_mean
from scuttled.errors import ConfigError

FILE_NAME = "scuttled.toml"
FILE_BYTES_MAX = 1 << 20
FIFO_WAIT_S = 5  # for a writer

_PACKAGED = Path(__file__).with_name(FILE_NAME)
_IN_REPOSITORY = Path(__file__).parents[2] / "config" / FILE_NAME

_SECTION_LINE = re.compile(r"\s*\[+([^\[\]]+)\]")
_KEY_LINE = re.compile(r"\s*([\w\"'][\w\s.\"'-]*?)\s*=")
_SYNTAX_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)")


class FileSetting(NamedTuple):
    """One key of the file: its value, and `path:line` for people."""

    value: object
    place: str


def template() -> str:
    """The annotated default file: from the wheel, or in a checkout from the repository itself."""
    source = _PACKAGED if _PACKAGED.exists() else _IN_REPOSITORY
    return source.read_text(encoding="utf-8")


def read_file(path: str) -> dict[str, FileSetting]:
    """Every setting that the file holds, by `section.key`. Values are not looked at yet.

    Raises ConfigError for a file that can't be read or parsed, and for unknown sections and keys.
    """
    text = _read_text(path)
    lines = _lines(text)
    sections = _parse(path, text)
    return {
        f"{section}.{key}": FileSetting(value, _place(path, lines, section, key))
        for section, table in sections.items()
        for key, value in _keys(path, lines, section, table)
    }


def _read_text(path: str) -> str:
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
                _await_writer(path, file.fileno())
            raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if len(raw) > FILE_BYTES_MAX:
        raise ConfigError(f"{path}: more than {FILE_BYTES_MAX} bytes")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: not UTF-8") from error


def _open_at_once(path: str, flags: int) -> int:
    """A FIFO, too, into which nobody writes."""
    return os.open(path, flags | os.O_NONBLOCK)


def _await_writer(path: str, fd: int) -> None:
    """So that a FIFO can be read to its end. Raises ConfigError."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    if not poll.poll(FIFO_WAIT_S * 1000):
        raise ConfigError(f"{path}: a FIFO into which nobody wrote within {FIFO_WAIT_S} s")
    os.set_blocking(fd, True)


def _parse(path: str, text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        words = str(error)
        place = _SYNTAX_PLACE.search(words)
        line = place[1] if place and place[1] else text.count("\n") + 1
        raise ConfigError(f"{path}:{line}: {_SYNTAX_PLACE.sub('', words)}") from error
    except RecursionError:
        raise ConfigError(f"{path}: a list or table is nested too deep") from None
    except ValueError:  # Python's own limit; tomllib does not say where
        most = sys.get_int_max_str_digits()
        raise ConfigError(f"{path}: a number of more than {most} digits") from None


def _keys(
    path: str, lines: dict[str, int], section: str, table: object
) -> Iterator[tuple[str, object]]:
    """The keys of one section. Raises ConfigError if the section or one of them is unknown."""
    known = {setting.key: setting for setting in SETTINGS if setting.section == section}
    where = _place(path, lines, section)
    if not known:
        raise ConfigError(f"{where}: {_unknown_section(section, table)}")
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: {section!r} is a section: write [{section}]")
    for key, value in table.items():
        if key not in known:
            where = _place(path, lines, section, key)
            raise ConfigError(f"{where}: unknown key {key!r} in [{section}]{_meant(key, known)}")
        yield key, value


def _unknown_section(section: str, table: object) -> str:
    sections = {setting.section for setting in SETTINGS}
    if isinstance(table, dict):
        return f"unknown section [{section}]{did_you_mean(section, sections)}"
    return f"key {section!r} stands outside of any section{_meant(section, ())}"


def _meant(key: str, known: Iterable[str]) -> str:
    """A key that another section has is more likely misplaced than misspelt."""
    at_home = [setting.section for setting in SETTINGS if setting.key == key]
    return f": it belongs in [{at_home[0]}]" if at_home else did_you_mean(key, known)


def _lines(text: str) -> dict[str, int]:
    """`section` or `section.key` -> the line it begins in. Keys may be dotted or quoted."""
    lines: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.split("\n"), 1):
        if match := _SECTION_LINE.match(line):
            section = _plain(match[1])
            lines.setdefault(section, number)
        elif match := _KEY_LINE.match(line):
            lines.setdefault(f"{section}.{_plain(match[1])}".lstrip("."), number)
    return lines


def _plain(dotted: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in dotted.split("."))


def _place(path: str, lines: dict[str, int], section: str, key: str = "") -> str:
    """`path:line`; a key within an inline table has its section's line, an odd one none."""
    line = lines.get(f"{section}.{key}") or lines.get(section)
    return f"{path}:{line}" if line else path
