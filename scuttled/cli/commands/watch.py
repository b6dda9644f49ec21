"""`scuttled watch`: one line, or one run of a command, for every change, until told to stop."""

import time

import click

from scuttled.cli.candidates import complete_patterns
from scuttled.cli.cursor_file import CursorFile
from scuttled.cli.dashed_arguments import CommandVerb, command_behind_dashes
from scuttled.cli.options import seconds, verb
from scuttled.cli.resumed_stream import NO_RECONNECT, ResumedStream
from scuttled.cli.settings import Settings
from scuttled.cli.sinks import CommandSink, LineSink, check_runs
from scuttled.client.client import Client, Stream
from scuttled.control.cursors import split_cursor
from scuttled.errors import TimedOut
from scuttled.units import format_duration


@verb(
    "watch",
    cls=CommandVerb,
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
    argv = command_behind_dashes()
    until = None if for_s is None else time.monotonic() + for_s
    check_runs(argv)
    noted = CursorFile(cursor_file)
    start = noted.read() or after or ""
    changes = ResumedStream(
        settings,
        noted,
        start=start,
        limit=1 if once else number,
        awaits_live=snapshot and not start,
    )
    sink: LineSink | CommandSink
    if argv:
        sink = CommandSink(changes, argv)
    else:
        sink = LineSink(changes, models=all_models, live=bool(snapshot or start))

    def ask(client: Client) -> Stream:
        cursor, clock = split_cursor(changes.place.text)
        return client.stream(
            "watch",
            live=True,
            model="" if all_models else settings.model,
            patterns=list(patterns),
            snapshot=changes.awaits_live,
            after=cursor,
            clock=clock,
            durable=True,
        )

    changes.follow(ask, sink.take, until, reconnect=not no_reconnect)
    if not changes.seen:
        raise TimedOut(f"no change in {format_duration(for_s or 0)}")
    if once:
        raise click.exceptions.Exit(sink.code)
