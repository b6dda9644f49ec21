"""What all commands have in common: the global options, the help that ends in examples.

The global options stand before or after the verb. Both places write into one `Settings`, later
ones over earlier ones, and those over the environment. A command is a function that gets it:

    @verb("get", examples="scuttled get greeting")
    @click.argument("key")
    def command(settings: Settings, key: str) -> None:
        \"""Write the value of KEY.\"""
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from scuttled.cli import output
from scuttled.errors import UsageError

if TYPE_CHECKING:
    from scuttled.client import Client

_VARIABLES = ("MODEL", "SOCKET", "OUTPUT", "TIMEOUT", "CONFIG")  # each after SCUTTLED_
# What may be empty: a key and a value are any text, and `get` may be told to give nothing.
_ANY_TEXT = {"key", "keys", "value", "payload", "args", "patterns", "pattern"}  # arguments
_ANY_TEXT_TOO = {"default"}  # options
OUTPUTS = ("auto", "table", "plain", "json")
_ID_CHARS = 8  # of a node's id, beside a name that is not its alone
_GLOBALS = "-m MODEL  -j  -q  -v  --socket PATH  --timeout D  --color WHEN"


class Settings:
    """What the global options and the environment say."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self.environ = environ
        self.named_model = environ.get("SCUTTLED_MODEL") or ""  # "" if nobody named one
        self.output = environ.get("SCUTTLED_OUTPUT") or "auto"
        self.socket: str | None = None
        self.timeout = environ.get("SCUTTLED_TIMEOUT") or ""
        self.quiet = False
        self.verbose = 0
        self.color = "auto"
        self._client: Client | None = None  # the latest one

    @property
    def model(self) -> str:
        """The model to work on."""
        return self.named_model or "default"

    @model.setter
    def model(self, name: str) -> None:
        self.named_model = name

    @property
    def form(self) -> str:
        """`table` for people, `plain` lines for programs, or `json` lines."""
        if self.output not in OUTPUTS:
            raise UsageError(
                f"SCUTTLED_OUTPUT is {self.output!r}: it can be {', '.join(OUTPUTS)}",
                hint="unset SCUTTLED_OUTPUT",
            )
        if self.output == "auto":
            return "table" if output.is_tty() else "plain"
        return self.output

    @property
    def json(self) -> bool:
        return self.form == "json"

    @property
    def timeout_s(self) -> float | None:
        """Seconds, if the user gave any."""
        if not self.timeout:
            return None
        from scuttled.units import parse_duration

        found = parse_duration(self.timeout)
        if found <= 0:
            raise UsageError(f"a timeout of {self.timeout!r} leaves no time at all")
        return found

    @property
    def colored(self) -> bool:
        """Whether tables may have colour; plain and JSON lines never have."""
        if self.color != "auto":
            return self.color == "always"
        dumb = self.environ.get("TERM") == "dumb" or bool(self.environ.get("NO_COLOR"))
        return output.is_tty() and not dumb

    def paths(self) -> list[str]:
        """The sockets to try."""
        from scuttled.client import socket_paths

        return socket_paths(self.socket, self.environ)

    def connect(self) -> "Client":
        """A connection to the daemon; `with` closes it."""
        from scuttled.client import TIMEOUT_S, Client

        timeout_s = self.timeout_s
        client = Client.connect(self.paths(), TIMEOUT_S if timeout_s is None else timeout_s)
        if self.verbose:
            output.say(f"scuttled: connected to {client.path}")
        self._client = client
        return client

    def label(self, name: str | None, node: str | None) -> str:
        """A node as people are shown it: its name, with the beginning of its id if others bear
        that name, too; its id if no name is known.
        """
        if not name:
            return node or "-"
        shared = self._client is not None and name in self._client.namesakes
        return f"{name} ({node[:_ID_CHARS]})" if node and shared else name

    def say(self, text: str) -> None:
        """A message on stderr that -q silences."""
        if not self.quiet:
            output.say(text)

    def show(
        self,
        header: list[str],
        rows: Sequence[Sequence[bytes | str]],
        styles: Mapping[str, str] | None = None,
        *,
        notes: Sequence[Sequence[str]] = (),
        wide: bool = False,
    ) -> None:
        """A table as wide as the terminal, or as `wide` as it is; `notes`: lines below each row."""
        colors = (styles or {}) if self.colored else None
        columns = None if wide else output.width()
        output.write(output.table(header, rows, columns=columns, styles=colors, notes=notes))

    def check_can_ask(self, what: str, *, yes: bool) -> None:
        """Before any work: without a person to ask it takes --yes, for no answer is not a yes."""
        person = sys.stdin is not None and sys.stdin.isatty() and output.is_watched()
        if not (yes or person):
            raise UsageError(f"no terminal to ask on: to {what} it takes --yes")

    def confirm(self, what: str, *, yes: bool) -> None:
        """Asks a person; after a no the command ends."""
        if not yes and not click.confirm(f"{what}?", err=True):
            raise click.exceptions.Exit(1)


def _store(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    settings = ctx.ensure_object(Settings)
    if not value:
        return
    if param.name == "json":
        settings.output = "json"
    elif param.name == "verbose":
        settings.verbose += value
    else:
        setattr(settings, str(param.name), value)


def _check_duration(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        seconds(ctx, param, value)
    _store(ctx, param, value)


def _globals(*, hidden: bool) -> list[click.Parameter]:
    def option(*names: str, help: str, callback: Any = _store, **attrs: Any) -> click.Option:
        return click.Option(
            names, expose_value=False, hidden=hidden, callback=callback, help=help, **attrs
        )

    colors = click.Choice(["auto", "always", "never"])
    return [
        option(
            "-m",
            "--model",
            metavar="MODEL",
            shell_complete=complete_models,
            help="The model to work on (default).",
        ),
        option("-j", "--json", is_flag=True, help="One JSON object per line."),
        option("-q", "--quiet", is_flag=True, help="No messages but errors."),
        option("-v", "--verbose", count=True, help="Say more; -vv shows tracebacks."),
        option("--socket", metavar="PATH", help="The daemon's control socket."),
        option(
            "--timeout",
            metavar="D",
            callback=_check_duration,
            help="Give up after this long without a byte from the daemon (5s).",
        ),
        option("--color", type=colors, help="Colour in tables."),
    ]


class _Street(click.Command):
    """Adds the global options, out of the way of a command's own, and examples at the end."""

    def __init__(self, *args: Any, examples: str, **attrs: Any) -> None:
        super().__init__(*args, **attrs)
        self.examples = [line.strip() for line in examples.strip().splitlines()]
        self._shared: list[click.Parameter] | None = None

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        own = super().get_params(ctx)
        if self._shared is None:
            names = {name for param in own for name in param.opts}
            every = _globals(hidden=ctx.parent is not None)
            self._shared = [param for param in every if names.isdisjoint(param.opts)]
        return [*own, *self._shared]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
            for param in self.get_params(ctx):
                _check_not_blank(ctx, param, given.get(str(param.name)))
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if ctx.parent is not None:
            formatter.write_paragraph()
            formatter.write_text(f"Also: {_GLOBALS}")
        formatter.write_paragraph()
        formatter.write("Examples:\n")
        for line in self.examples:
            formatter.write(f"  {line}\n")


def _check_not_blank(ctx: click.Context, param: click.Parameter, given: object) -> None:
    """A name that is empty is a variable that is not set: the default would be another's."""
    if param.name in (_ANY_TEXT_TOO if isinstance(param, click.Option) else _ANY_TEXT):
        return
    for value in given if isinstance(given, list | tuple) else [given]:
        if isinstance(value, str) and not value.strip():
            name = param.opts[-1] if isinstance(param, click.Option) else param.human_readable_name
            raise UsageError(blank(name, value), hint=f"{ctx.command_path} --help")


def blank(name: str, value: str) -> str:
    """What is wrong with a name that is empty, or nothing but space."""
    return f"{name} is {value!r:.40}, which names nothing: a variable that is not set?"


def _check_environment(environ: Mapping[str, str]) -> None:
    for name in (f"SCUTTLED_{name}" for name in _VARIABLES):
        if name in environ and not environ[name].strip():
            raise UsageError(blank(name, environ[name]), hint=f"unset {name}")


class Verb(_Street):
    """One command."""

    def invoke(self, ctx: click.Context) -> Any:
        _check_environment(ctx.ensure_object(Settings).environ)
        return super().invoke(ctx)


class VerbGroup(_Street, click.Group):
    """A command that is a family: `model ls`, `config check`. Alone it shows its help."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            if ctx.ensure_object(Settings).output == "json":
                raise UsageError("a command is missing", hint=f"{ctx.command_path} --help")
            output.show(ctx.get_help())
            raise click.exceptions.Exit(UsageError.code)
        return super().parse_args(ctx, args)


pass_settings = click.make_pass_decorator(Settings, ensure=True)


def verb(
    name: str, *, examples: str, cls: type[Verb] = Verb
) -> Callable[[Callable[..., None]], Verb]:
    """Makes a command of a function whose first argument is the Settings."""

    def decorate(function: Callable[..., None]) -> Verb:
        return click.command(name, cls=cls, examples=examples)(pass_settings(function))

    return decorate


def seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Callback of options that take a duration."""
    if value is None:
        return None
    from scuttled.units import parse_duration

    try:
        return parse_duration(value)
    except UsageError as error:
        raise click.BadParameter(error.message, ctx, param) from None


def complete_keys(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Completion of an argument that is a key."""
    from scuttled.cli.completion import keys

    return keys(ctx.ensure_object(Settings), incomplete)


def complete_patterns(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Completion of an argument that is a pattern: keys, each as the pattern that means it."""
    from scuttled.cli.completion import keys
    from scuttled.patterns import escaped, unescaped

    return [escaped(key) for key in keys(ctx.ensure_object(Settings), unescaped(incomplete))]


def complete_models(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Completion of an argument or option that is a model."""
    from scuttled.cli.completion import models

    return models(ctx.ensure_object(Settings), incomplete)
