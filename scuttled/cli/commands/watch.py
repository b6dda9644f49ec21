"""`scuttled watch`: one line, or one run of a command, for every change, until told to stop."""

import time
from typing import Any

import click

from scuttled.cli import output
from scuttled.cli.candidates import complete_patterns
from scuttled.cli.dashed_arguments import DashedVerb
from scuttled.cli.following import CHUNK_BYTES, CursorFile, LineWriter, Patience, run_command
from scuttled.cli.formatting import (
    clock_time,
    escape,
    revision,
    rfc3339,
    update_fields,
    value_fields,
)
from scuttled.cli.options import seconds, verb
from scuttled.cli.resumed_stream import CHANGES, NO_RECONNECT, ResumePoint, Sink, follow
from scuttled.cli.settings import Settings
from scuttled.client.client import Client, Row, Stream
from scuttled.control.cursors import Clocks, split_cursor
from scuttled.errors import TimedOut, UsageError
from scuttled.units import format_duration

_STYLES = {"set": "32", "del": "31", "expire": "33", "event": "36", "reset": "35", "live": "2"}


class WatchVerb(DashedVerb):
    """Everything behind `--` is the command to run, options and all."""

    def named(self, command: str, word: str) -> str:
        return f"{command} '\\{word}'"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["scuttled.argv"] = []
        if "--" in args:
            place = args.index("--")
            ctx.meta["scuttled.argv"] = args[place + 1 :]
            args = args[:place]
            if not ctx.meta["scuttled.argv"] and not ctx.resilient_parsing:
                raise click.UsageError("a command is missing behind --", ctx)
        return super().parse_args(ctx, args)


@verb(
    "watch",
    cls=WatchVerb,
    examples="""
        scuttled watch
        scuttled watch svc/ 'db/*'
        scuttled watch --snapshot -j
        scuttled watch svc/web --once --for 30s
        scuttled watch --cursor-file ~/seen.cursor >> changes.tsv
        scuttled watch svc/ -- sh -c 'echo "$SCUTTLED_OP $SCUTTLED_KEY: $(cat)"'
    """,
)
@click.argument("patterns", nargs=-1, metavar="[PATTERN...]", shell_complete=complete_patterns)
@click.option("--snapshot", is_flag=True, help="First what is there, then a line `live`.")
@click.option("-n", "number", type=click.IntRange(1), metavar="N", help="End after N changes.")
@click.option("--once", is_flag=True, help="End after one change; with CMD, with its exit code.")
@click.option("--for", "for_s", metavar="D", callback=seconds, help="End after this time.")
@click.option("--after", metavar="CURSOR", help="Go on behind a cursor, as -j shows them.")
@click.option("--cursor-file", metavar="F", help="Go on where the last run ended, and note it.")
@click.option("--all-models", is_flag=True, help="All models but those of the system.")
@click.option("--no-reconnect", is_flag=True, help=NO_RECONNECT)
def command(
    settings: Settings,
    patterns: tuple[str, ...],
    snapshot: bool,
    number: int | None,
    once: bool,
    for_s: float | None,
    after: str | None,
    cursor_file: str | None,
    all_models: bool,
    no_reconnect: bool,
) -> None:
    r"""Tell every change, of all nodes, as it comes.

    To all keys, or to those that match a PATTERN. One that ends in / is a prefix, one with * or ? a
    glob (quote it), else it is one key. A backslash before * ? / \ = or - takes it as it is:
    'a\*b' and 'dir\/' are one key each.

    In a pipe: lines of OP KEY VALUE REV NODE TIME_MS (and MODEL, with --all-models), separated by
    tabs. A watch that could not go on behind its cursor says `reset`, gives what is there, and
    then `live`; it is never silent about a gap.

    A daemon that restarts, or was killed, is waited for; then the watch goes on where it was. A
    cursor is good after that, and on other nodes of the cluster; values that were overwritten
    meanwhile may be skipped. On the node that gave it nothing is told twice.

    With -- CMD it runs CMD for each change, one after the other: the value on its standard input,
    SCUTTLED_OP, _KEY, _NODE, _REV and _MODEL in its environment. How CMD ended is told, and the
    change counts as dealt with, unless a signal to `watch` ended it. The cursor is noted after
    each run: who kills `watch` itself (-9) may have the last change handled once more.
    """
    argv = click.get_current_context().meta["scuttled.argv"]
    until = None if for_s is None else time.monotonic() + for_s
    patience, noted = Patience(), CursorFile(cursor_file)
    limit = 1 if once else number
    if argv:
        check_runs(argv[0])
    start = noted.read() or after or ""
    sink: LineSink | CommandSink
    if argv:
        sink = CommandSink(settings, patience, noted, limit=limit, start=start, argv=argv)
    else:
        live = bool(snapshot or start)
        sink = LineSink(
            settings, patience, noted, limit=limit, start=start, models=all_models, live=live
        )
    sink.awaits_live = snapshot and not start

    def ask(client: Client) -> Stream:
        cursor, clock = split_cursor(sink.place.text)
        return client.stream(
            "watch",
            live=True,
            model="" if all_models else settings.model,
            patterns=list(patterns),
            snapshot=sink.awaits_live,
            after=cursor,
            clock=clock,
            durable=True,
        )

    follow(ask, sink, until, reconnect=not no_reconnect)
    if not sink.seen:
        raise TimedOut(f"no change in {format_duration(for_s or 0)}")
    if once and isinstance(sink, CommandSink):
        raise click.exceptions.Exit(sink.code)


def check_runs(program: str) -> None:
    """Now, and not at the first change, which may come in a week."""
    from shutil import which

    if which(program) is None:
        raise UsageError(f"{program!r} can't be run: there is no such program")


class LineSink(Sink):
    """Writes changes to stdout.

    `live`: whether the next row of that name is a line: it ends a snapshot, and what follows a
    `reset`. A watch that begins with now has it for its cursor only.
    """

    def __init__(self, *args: Any, models: bool, live: bool, **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self._models = models
        self._live = live
        self._form = self.settings.form
        self._styles = _STYLES if self.settings.colored else {}
        self._outlet = LineWriter(self.fd, self.patience)

    def take(self, rows: list[Row], clock: Clocks) -> None:
        """Writes whole lines, in chunks that a pipe takes at once."""
        chunk, written = b"", self.place
        for number, row in enumerate(rows, 1):
            if self.full:
                break
            place = self.behind(row, clock if number == len(rows) else {})
            line = self._line(row, place).encode("utf-8", "surrogateescape")
            if chunk and len(chunk) + len(line) > CHUNK_BYTES:
                self._outlet.write(chunk)
                chunk, self.place = b"", written
            chunk += line
            written = place
            self.seen += row[0] in CHANGES
        self._outlet.write(chunk)
        self.place = written

    def _line(self, row: Row, place: ResumePoint) -> str:
        if row[0] == "live" and not self._live:
            return ""
        self._live = self._live or row[0] == "reset"
        if self._form == "json":
            return output.json_line(_fields(row, place.short))
        if self._form == "plain":
            return output.plain_line(_columns(row, models=self._models))
        return _sentence(self.settings, row, self._styles, models=self._models)


class CommandSink(Sink):
    """Runs a command for each change. What it was run for is noted at once: runs may be long."""

    def __init__(self, *args: Any, argv: list[str], **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self.code = 0
        self._argv = argv

    def take(self, rows: list[Row], clock: Clocks) -> None:
        for number, row in enumerate(rows, 1):
            if self.full:
                return
            if row[0] in CHANGES:
                self._run(row)
            elif row[0] == "reset":
                self.settings.say(f"scuttled: starting afresh: {_reason(row[4])}")
            self.place = self.behind(row, clock if number == len(rows) else {})
            self.note()
            self.patience.check()

    def _run(self, row: Row) -> None:
        op, model, key, _, value, rev = row[:6]
        names = {"OP": op, "MODEL": model, "KEY": key, "NODE": revision(rev)[0], "REV": rev}
        environ = {f"SCUTTLED_{name}": text.replace("\0", "\\x00") for name, text in names.items()}
        self.code = run_command(self._argv, value or b"", environ, self.patience)
        self.seen += 1
        if self.code:
            self.patience.check()  # our own end was its end: the change is not dealt with
            self.settings.say(f"scuttled: {self._argv[0]} exited with {self.code} for {op} {key!r}")


def _fields(row: Row, cursor: str) -> dict[str, Any]:
    op, model, key, kind, value, rev, name, _, ms = row[:9]
    if op not in CHANGES:
        reason = {"reason": _reason(value)} if op == "reset" else {}
        return {"op": op, **reason, "cursor": cursor}
    held = {} if kind == "deleted" else value_fields(kind, value)
    about = {**update_fields(rev, name), "time": rfc3339(ms), "time_ms": ms}
    return {"op": op, "model": model, "key": key, **held, **about, "cursor": cursor}


def _columns(row: Row, *, models: bool) -> list[object]:
    op, model, key, _, value, rev = row[:6]
    if op not in CHANGES:
        columns: list[object] = [op, None, _reason(value) if op == "reset" else None, *[None] * 3]
    else:
        columns = [op, key, value or None, rev, revision(rev)[0], row[8]]
    return [*columns, model] if models else columns


def _sentence(settings: Settings, row: Row, styles: dict[str, str], *, models: bool) -> str:
    """`10:02:11.120 set svc/web = 10.0.0.9:80  web1`, as wide as the terminal."""
    op, model, key, kind, value, rev, name = row[:7]
    shown = f"\x1b[{styles[op]}m{op}\x1b[0m" if op in styles else op
    if op not in CHANGES:
        reason = f": {escape(_reason(value))}" if op == "reset" else ""
        return f"{clock_time(int(time.time() * 1000))} {shown}{reason}\n"
    front = f"{clock_time(row[8])} {op} {escape(key)}"
    writer = settings.label(name, revision(rev)[0])
    back = f"  {escape(writer)}" + (f"  {escape(model)}" if models else "")
    if kind != "deleted":
        room = max((output.width() or 1 << 30) - output.span(front + back) - 3, 20)
        front += " = " + output.cut(escape(value[: 4 * room]), room)
    return front.replace(f" {op} ", f" {shown} ", 1) + back + "\n"


def _reason(value: bytes | str | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""
