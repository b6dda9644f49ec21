"""Log of the daemon on stderr, for its operator: for eyes, for the journal, for a machine.

    text     10:00:01 info  link to db1 up
    journal  <6>link to db1 up                 (systemd knows the time)
    json     {"v": 1, "time": "2026-01-02T10:00:01.120Z", "time_ms": ..., "level": "info", ...}

A message never spans or fakes a line: what is in it may come from a peer. What repeats is counted
(repeats.py), and the traceback of an error is left out unless it is asked for, whoever logs it:
the error itself stands behind the message.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TextIO

from scuttled.printable import one_line
from scuttled.runtime.repeats import Repeats

logger = logging.getLogger(__name__)

_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def set_up_logging(
    level: str,
    log_format: str,
    environ: Mapping[str, str] = os.environ,
    *,
    tracebacks: bool = False,
) -> None:
    """Send the root logger's messages from `level` on to stderr, in one of the formats above.

    `auto` is journal if stderr is the journal's, else text. May be called again; the last call
    counts. Warnings of Python become messages, and errors that nobody could raise.
    """
    if log_format == "auto":
        log_format = "journal" if stderr_is_journal(environ) else "text"
    door = Door(sys.stderr)
    door.setFormatter(_FORMATS[log_format](tracebacks=tracebacks))
    logging.basicConfig(handlers=[door], level=_LEVELS[level], force=True)
    logging.captureWarnings(True)
    sys.unraisablehook = _log_unraisable


def _log_unraisable(found: "sys.UnraisableHookArgs") -> None:
    """An error where no exception gets out of: in a finalizer."""
    words = found.err_msg or "ignored"
    error = found.exc_value
    info = (type(error), error, found.exc_traceback) if error is not None else None
    logger.error("%s: %r", words, found.object, exc_info=info)


class Door(logging.StreamHandler[TextIO]):
    """The handler of all messages: what repeats is counted, and said by `tell_repeats`."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__(stream)
        self._repeats = Repeats()

    def emit(self, record: logging.LogRecord) -> None:
        if self._repeats.admit(record, time.monotonic()):
            super().emit(record)

    def tell_repeats(self, *, rest: bool = False) -> None:
        """Say what was kept back in minutes that are over; `rest`: all of it, at the end."""
        with self.lock or nullcontext():
            found = self._repeats.rest() if rest else self._repeats.due(time.monotonic())
            for record, count in found:
                record.repeated = count
                super().emit(record)


def tell_repeats(*, rest: bool = False) -> None:
    """The same of every door there is. To be called every now and then."""
    for door in logging.getLogger().handlers:
        if isinstance(door, Door):
            door.tell_repeats(rest=rest)


def stderr_is_journal(environ: Mapping[str, str]) -> bool:
    """True if what we write to stderr goes to journald: JOURNAL_STREAM names the very stream.

    The variable alone proves nothing, as children inherit it and then write elsewhere.
    """
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(2)
        return (int(device), int(inode)) == (status.st_dev, status.st_ino)
    except (OSError, ValueError):
        return False


class LogFormatter(logging.Formatter):
    """Form of a message, with or without its traceback: what all forms share."""

    def __init__(self, *, tracebacks: bool = False) -> None:
        super().__init__()
        self._shows_tracebacks = tracebacks

    def message(self, record: logging.LogRecord) -> str:
        """All of it but the traceback: with the error, if that is not shown, and how often."""
        words = record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not self._shows_tracebacks:
            words += f": {type(error).__name__}: {error}"
        if count := getattr(record, "repeated", 0):
            words += f" ({count:,} more like it in the last minute)"
        return words

    def traceback(self, record: logging.LogRecord) -> list[str]:
        if not record.exc_info or not self._shows_tracebacks:
            return []
        # What an exception quotes may come from a peer, too.
        return [one_line(line) for line in self.formatException(record.exc_info).split("\n")]

    def line(self, record: logging.LogRecord) -> str:
        return "\t".join(map(one_line, self.message(record).split("\t")))  # a tab harms nobody


class TextLines(LogFormatter):
    """Local time, level and message; a traceback follows on its own lines."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        line = f"{time} {record.levelname.lower():5} {self.line(record)}"
        return "\n".join([line, *self.traceback(record)])


class JournalLines(LogFormatter):
    """`<N>` and the message. journald takes each line for a message, so each has its priority."""

    def format(self, record: logging.LogRecord) -> str:
        priority = f"<{_priority(record.levelno)}>"
        lines = [self.line(record), *self.traceback(record)]
        return "\n".join(priority + line for line in lines)


class JsonFormatter(LogFormatter):
    """One object a line, of the same form as the command line's: `v`, `time` and `time_ms`."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, object] = {
            "v": 1,
            "time": time.replace("+00:00", "Z"),
            "time_ms": int(record.created * 1000),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self.message(record),
        }
        if traceback := self.traceback(record):
            fields["traceback"] = "\n".join(traceback)
        return json.dumps(fields)


_FORMATS: dict[str, type[LogFormatter]] = {
    "text": TextLines,
    "journal": JournalLines,
    "json": JsonFormatter,
}


def _priority(level: int) -> int:
    """syslog's: 2 critical, 3 error, 4 warning, 6 info, 7 debug."""
    for least, priority in ((50, 2), (40, 3), (30, 4), (20, 6)):
        if level >= least:
            return priority
    return 7
