"""Sinks of a stream of changes: lines on stdout, or a run of a command for each change."""

import os
from typing import Any

from scuttled.cli import output
from scuttled.cli.change_lines import CHANGES, STYLES, json_fields, plain_columns, reason, sentence
from scuttled.cli.deferred_signals import DeferredSignals
from scuttled.cli.formatting import revision
from scuttled.cli.interruptible_io import CHUNK_BYTES, LineWriter
from scuttled.cli.resumed_stream import ResumedStream, ResumePoint
from scuttled.client.rows import ChangeRow
from scuttled.control.cursors import Clocks
from scuttled.errors import UsageError


class LineSink:
    """Writes changes to stdout.

    `live`: the next row of that name is a line, for it ends a snapshot, or what follows a `reset`.
    A stream that begins with now has it for its cursor only.
    """

    code = 0

    def __init__(self, stream: ResumedStream, *, models: bool, live: bool) -> None:
        self._stream = stream
        self._settings = stream.settings
        self._models = models
        self._live = live
        self._form = self._settings.form
        self._styles = STYLES if self._settings.colored else {}
        self._outlet = LineWriter(stream.fd, stream.signals)

    def take(self, rows: list[ChangeRow], clock: Clocks) -> None:
        """Writes whole lines, in chunks that a pipe takes at once."""
        stream = self._stream
        chunk = b""
        behind_chunk = stream.place
        for number, row in enumerate(rows, 1):
            if stream.full:
                break
            place = stream.behind(row, clock if number == len(rows) else {})
            line = self._line(row, place).encode("utf-8", "surrogateescape")
            if chunk and len(chunk) + len(line) > CHUNK_BYTES:
                self._outlet.write(chunk)
                # Only now: what a signal keeps from being written is not dealt with.
                stream.place = behind_chunk
                chunk = b""
            chunk += line
            behind_chunk = place
            if row.op in CHANGES:
                stream.seen += 1
        self._outlet.write(chunk)
        stream.place = behind_chunk

    def _line(self, row: ChangeRow, place: ResumePoint) -> str:
        if row.op == "live" and not self._live:
            return ""
        if row.op == "reset":
            self._live = True
        if self._form == "json":
            return output.json_line(json_fields(row, place.short))
        if self._form == "plain":
            return output.plain_line(plain_columns(row, models=self._models))
        return sentence(self._settings, row, self._styles, models=self._models)


class CommandSink:
    """Runs a command for each change. What it was run for is noted at once: runs may be long."""

    def __init__(self, stream: ResumedStream, argv: list[str]) -> None:
        self.code = 0  # that the last run ended with
        self._stream = stream
        self._settings = stream.settings
        self._argv = argv

    def take(self, rows: list[ChangeRow], clock: Clocks) -> None:
        stream = self._stream
        for number, row in enumerate(rows, 1):
            if stream.full:
                return
            if row.op in CHANGES:
                self._run(row)
            elif row.op == "reset":
                self._settings.say(f"scuttled: starting afresh: {reason(row)}")
            stream.place = stream.behind(row, clock if number == len(rows) else {})
            stream.note()
            stream.signals.check()

    def _run(self, row: ChangeRow) -> None:
        node, _ = revision(row.rev)
        about = {"OP": row.op, "MODEL": row.model, "KEY": row.key, "NODE": node, "REV": row.rev}
        environ = {f"SCUTTLED_{name}": text.replace("\0", "\\x00") for name, text in about.items()}
        self.code = _run_command(self._argv, row.value or b"", environ, self._stream.signals)
        self._stream.seen += 1
        if self.code:
            self._stream.signals.check()  # our own end was its end: the change is not dealt with
            words = f"{self._argv[0]} exited with {self.code} for {row.op} {row.key!r}"
            self._settings.say(f"scuttled: {words}")


def check_runs(argv: list[str]) -> None:
    """Raises UsageError if there is such a command line, and no such program: now, and not at the
    first change, which may come in a week.
    """
    if not argv:
        return
    from shutil import which

    if which(argv[0]) is None:
        raise UsageError(f"{argv[0]!r} can't be run: there is no such program")


def _run_command(
    argv: list[str], value: bytes, environ: dict[str, Any], signals: DeferredSignals
) -> int:
    """Runs `argv` with `value` on its standard input; its exit code as a shell names it.

    A signal to us is passed on and the end of the command awaited, so that it is known whether the
    change was dealt with.
    """
    import subprocess

    try:
        process = subprocess.Popen(  # noqa: S603 - to run what the user names is the purpose
            argv, stdin=subprocess.PIPE, env={**os.environ, **environ}
        )
    except OSError as error:
        raise UsageError(f"{argv[0]!r} can't be run: {error.strerror}") from error
    with signals.passing_on(process.pid):
        process.communicate(value)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode
