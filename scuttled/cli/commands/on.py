"""`scuttled on`: hears events, each one once."""

import time

import click

from scuttled.cli.cursor_file import CursorFile
from scuttled.cli.dashed_arguments import CommandVerb, command_behind_dashes
from scuttled.cli.options import seconds, verb
from scuttled.cli.resumed_stream import NO_RECONNECT, ResumedStream
from scuttled.cli.settings import Settings
from scuttled.cli.sinks import CommandSink, LineSink, check_runs
from scuttled.client.client import Client, Stream
from scuttled.client.patterns import unescaped
from scuttled.errors import TimedOut, UsageError
from scuttled.units import format_duration


@verb(
    "on",
    cls=CommandVerb,
    examples="""
        scuttled on deployed
        scuttled on deployed backup -j
        scuttled on --all
        scuttled on backup --once --for 1h
        scuttled on deployed --cursor-file ~/heard.cursor -- sh -c 'restart-web "$(cat)"'
    """,
)
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--all", "everything", is_flag=True, help="First all that were ever emitted.")
@click.option("-n", "number", type=click.IntRange(1), metavar="N", help="End after N events.")
@click.option("--once", is_flag=True, help="End after one event; with CMD, with its exit code.")
@click.option("--for", "for_s", metavar="D", callback=seconds, help="End after this time.")
@click.option("--after", metavar="CURSOR", help="Go on behind a cursor, as -j shows them.")
@click.option(
    "--cursor-file", metavar="F", help="Hear all, each once: what was heard is noted here."
)
@click.option("--no-reconnect", is_flag=True, help=NO_RECONNECT)
def command(
    settings: Settings,
    names: tuple[str, ...],
    everything: bool,
    number: int | None,
    once: bool,
    for_s: float | None,
    after: str | None,
    cursor_file: str | None,
    no_reconnect: bool,
) -> None:
    r"""Tell every event of these NAMEs, or of all, from now on.

    A NAME is taken as it stands. A backslash before * ? / \ = or - takes it as it is: '\--x' is
    the event --x.

    With --cursor-file it hears each event once, also those emitted while it was not running, or
    before it ever was; the file may be moved to another node. In a pipe: lines of
    `event` NAME PAYLOAD REV NODE TIME_MS, separated by tabs. A daemon that restarts is waited for,
    and no event is lost or told twice by that. With -- CMD it runs CMD for each
    event, one after the other: the payload on its standard input, SCUTTLED_KEY is the name.
    """
    argv = command_behind_dashes()
    if sum([everything, after is not None, cursor_file is not None]) > 1:
        raise UsageError("--all, --after and --cursor-file exclude each other")
    until = None if for_s is None else time.monotonic() + for_s
    check_runs(argv)
    noted = CursorFile(cursor_file)
    # Behind "" come all events that ever were, behind None those from now on.
    start = noted.read() if cursor_file or everything else after
    events = ResumedStream(settings, noted, start=start or "", limit=1 if once else number)
    sink: LineSink | CommandSink
    if argv:
        sink = CommandSink(events, argv)
    else:
        sink = LineSink(events, models=False, live=False)

    def ask(client: Client) -> Stream:
        behind = events.place.text or start
        return client.stream(
            "on",
            live=True,
            model=settings.events_model,
            names=[unescaped(name) for name in names],
            after=behind,
            cursor_first=behind is None,  # or what came while the daemon was away would be lost
        )

    events.follow(ask, sink.take, until, reconnect=not no_reconnect)
    if not events.seen:
        raise TimedOut(f"no event in {format_duration(for_s or 0)}")
    if once:
        raise click.exceptions.Exit(sink.code)
