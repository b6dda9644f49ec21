"""Options of all commands, and the help that ends in examples.

The global options stand before or after the verb. Both places write into one `Settings`, later
ones over earlier ones, and those over the environment. A command is a function that gets it:

    @verb("get", examples="scuttled get greeting")
    @click.argument("key")
    def command(settings: Settings, key: str) -> None:
        \"""Write the value of KEY.\"""
"""

from collections.abc import Callable, Mapping
from typing import Any

import click

from scuttled.cli import output
from scuttled.cli.candidates import complete_models
from scuttled.cli.settings import Settings
from scuttled.errors import UsageError

_VARIABLES = ("MODEL", "SOCKET", "OUTPUT", "TIMEOUT", "CONFIG")  # each after SCUTTLED_
# What may be empty: a key and a value are any text, and `get` may be told to give nothing.
_ANY_TEXT = {"key", "keys", "value", "payload", "args", "patterns", "pattern"}  # arguments
_ANY_TEXT_TOO = {"default"}  # options
_GLOBALS = "-m MODEL  -j  -q  -v  --socket PATH  --timeout D  --color WHEN"


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
    """Words for a name that is empty, or nothing but space."""
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
