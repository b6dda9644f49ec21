"""What the daemon tells its operator, on stderr: for eyes, for the journal, for a machine.

    text     10:00:01 info  link to db1 up
    journal  <6>link to db1 up                 (systemd knows the time)
    json     {"v": 1, "time": "2026-01-02T10:00:01.120Z", "time_ms": ..., "level": "info", ...}

A message never spans or fakes a line: what is in it may come from a peer.
"""

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from scuttled.printable import one_line

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def set_up_logging(level: str, log_format: str, environ: Mapping[str, str] = os.environ) -> None:
    """Send the root logger's messages from `level` on to stderr, in one of the formats above.

    `auto` is journal if stderr is the journal's, else text. May be called again; the last call
    counts. Warnings of Python become messages.
    """
    if log_format == "auto":
        log_format = "journal" if stderr_is_journal(environ) else "text"
    door = logging.StreamHandler(sys.stderr)
    door.setFormatter(_FORMATS[log_format]())
    logging.basicConfig(handlers=[door], level=_LEVELS[level], force=True)
    logging.captureWarnings(True)


def stderr_is_journal(environ: Mapping[str, str]) -> bool:
    """Whether what we write to stderr goes to journald: JOURNAL_STREAM names the very stream.

    The variable alone proves nothing, as children inherit it and then write elsewhere.
    """
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(2)
        return (int(device), int(inode)) == (status.st_dev, status.st_ino)
    except (OSError, ValueError):
        return False


class TextLines(logging.Formatter):
    """Local time, level and message; a traceback follows on its own lines."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        line = f"{time} {record.levelname.lower():5} {_one_line(record)}"
        return "\n".join([line, *_traceback(self, record)])


class JournalLines(logging.Formatter):
    """`<N>` and the message. journald takes each line for a message, so each has its priority."""

    def format(self, record: logging.LogRecord) -> str:
        priority = f"<{_priority(record.levelno)}>"
        lines = [_one_line(record), *_traceback(self, record)]
        return "\n".join(priority + line for line in lines)


class JsonLines(logging.Formatter):
    """One object a line, of the same form as the command line's: `v`, `time` and `time_ms`."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, object] = {
            "v": 1,
            "time": time.replace("+00:00", "Z"),
            "time_ms": int(record.created * 1000),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if traceback := _traceback(self, record):
            fields["traceback"] = "\n".join(traceback)
        return json.dumps(fields)


_FORMATS: dict[str, type[logging.Formatter]] = {
    "text": TextLines,
    "journal": JournalLines,
    "json": JsonLines,
}


def _one_line(record: logging.LogRecord) -> str:
    return "\t".join(map(one_line, record.getMessage().split("\t")))  # a tab harms nobody


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    """Its lines; what an exception quotes may come from a peer, too."""
    if not record.exc_info:
        return []
    return [one_line(line) for line in formatter.formatException(record.exc_info).split("\n")]


def _priority(level: int) -> int:
    """syslog's: 2 critical, 3 error, 4 warning, 6 info, 7 debug."""
    for least, priority in ((50, 2), (40, 3), (30, 4), (20, 6)):
        if level >= least:
            return priority
    return 7
