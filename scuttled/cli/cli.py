"""The command line: one file per command, loaded when it is used.

A command is one call to the client. The table below is the whole street; a new command is a
file with a `command` in it and its line here.
"""

from importlib import import_module

import click

from scuttled.cli.options import VerbGroup
from scuttled.version import __version__

SECTIONS: dict[str, dict[str, str]] = {
    "Data": {
        "get": "scuttled.cli.commands.get",
        "set": "scuttled.cli.commands.set",
        "del": "scuttled.cli.commands.del_",
        "ls": "scuttled.cli.commands.ls",
        "watch": "scuttled.cli.commands.watch",
        "emit": "scuttled.cli.commands.emit",
        "on": "scuttled.cli.commands.on",
        "model": "scuttled.cli.commands.model",
        "call": "scuttled.cli.commands.call",
        "export": "scuttled.cli.commands.export",
        "import": "scuttled.cli.commands.import_",
    },
    "Cluster": {
        "peers": "scuttled.cli.commands.peers",
        "members": "scuttled.cli.commands.members",
        "forget": "scuttled.cli.commands.forget",
        "join": "scuttled.cli.commands.join",
        "part": "scuttled.cli.commands.part",
        "leave": "scuttled.cli.commands.leave",
        "wait": "scuttled.cli.commands.wait",
        "verify": "scuttled.cli.commands.verify",
    },
    "Daemon": {
        "serve": "scuttled.cli.commands.serve",
        "status": "scuttled.cli.commands.status",
        "config": "scuttled.cli.commands.config",
    },
    "Tools": {
        "demo": "scuttled.cli.commands.demo",
        "simulate": "scuttled.cli.commands.simulate",
        "completion": "scuttled.cli.commands.completion",
        "version": "scuttled.cli.commands.version",
    },
}
COMMANDS = {name: room for section in SECTIONS.values() for name, room in section.items()}


class LazyGroup(VerbGroup):
    """Knows all commands by name, and imports the one that is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        room = COMMANDS.get(cmd_name)
        if room is None:
            return None
        command: click.Command = import_module(room).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            from difflib import get_close_matches

            words = f"no command {name!r}"
            near = get_close_matches(name, COMMANDS, 1)
            if near:
                words += f": did you mean {near[0]!r}?"
            raise click.UsageError(words, ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, commands in SECTIONS.items():
            rows = []
            for name in commands:
                command = self.get_command(ctx, name)
                if command is not None and not command.hidden:
                    rows.append((name, command.get_short_help_str(limit=80)))
            with formatter.section(section):
                formatter.write_dl(rows)


@click.group(
    "scuttled",
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    examples="""
        scuttled serve                    # on each machine; --peers names the others
        scuttled set greeting hello
        scuttled get greeting
        scuttled watch
    """,
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Every machine of a fleet holds the same small, living state.

    Commands talk to the daemon of this machine; daemons gossip with each other.
    """
