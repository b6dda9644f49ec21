"""Commands whose arguments may begin with a dash."""

from collections.abc import Mapping

import click

from scuttled.cli.options import Verb
from scuttled.errors import UsageError

_BEHIND_DASHES = "scuttled.argv"  # where click's context keeps it


class LooseVerb(Verb):
    """A command whose arguments may begin with a dash: `set k -5` needs no `--`.

    What is not one of its options, as a whole, is an argument. (click's own way to be loose
    picks known letters out of unknown words: `-5v` would become -5 and --verbose.)
    """

    refuses_unknown_words = False  # that begin with two dashes

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        wants_value = {
            name: not (param.is_flag or param.count)
            for param in self.get_params(ctx)
            if isinstance(param, click.Option)
            for name in (*param.opts, *param.secondary_opts)
        }
        options, arguments = _sort_out(args, wants_value, strict=self.refuses_unknown_words)
        return super().parse_args(ctx, [*options, *arguments])


class DashedVerb(LooseVerb):
    """A command that takes keys: `get -5`. A word with two dashes is an option, or a mistake.

    `del --dryrun --prefix a/` must not delete, and `ls --cuont` not list the key of that name. So
    such a key stands behind `--`.
    """

    refuses_unknown_words = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            name = error.option_name
            words = " ".join(error.format_message().split())
            if not name.startswith("--"):
                raise
            meant = self.named(ctx.command_path, name)
            hint = f"{ctx.command_path} --help, or if {name} is meant as a name: {meant}"
            raise UsageError(words[:1].lower() + words[1:].rstrip("."), hint=hint) from None

    def named(self, command: str, word: str) -> str:
        """The way to say that a word with two dashes is an argument."""
        return f"{command} -- {word}"


class CommandVerb(DashedVerb):
    """Everything behind `--` is the command to run, options and all."""

    def named(self, command: str, word: str) -> str:
        return f"{command} '\\{word}'"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        argv: list[str] = []
        if "--" in args:
            place = args.index("--")
            argv = args[place + 1 :]
            args = args[:place]
            if not argv and not ctx.resilient_parsing:
                raise click.UsageError("a command is missing behind --", ctx)
        ctx.meta[_BEHIND_DASHES] = argv
        return super().parse_args(ctx, args)


def command_behind_dashes() -> list[str]:
    """The words behind `--` of the CommandVerb that is running; [] if there are none."""
    argv: list[str] = click.get_current_context().meta[_BEHIND_DASHES]
    return argv


def _sort_out(
    args: list[str], wants_value: Mapping[str, bool], *, strict: bool
) -> tuple[list[str], list[str]]:
    """(options with their values, the rest). `wants_value` has all options by name; `strict`: a
    word with two dashes goes to the options, for click to refuse.
    """
    options: list[str] = []
    arguments: list[str] = []
    rest = iter(args)
    for word in rest:
        if word == "--":
            arguments += rest
        elif strict and word.startswith("--") and not _is_option(word, wants_value):
            options.append(word)
        elif not _is_option(word, wants_value):
            arguments.append(word)
        else:
            options.append(word)
            if _takes_next(word, wants_value):
                value = next(rest, None)
                if value is None:  # not to take the -- for it: click says what is missing
                    return [*arguments, *options], []
                options.append(value)
    return options, ["--", *arguments]


def _is_option(word: str, wants_value: Mapping[str, bool]) -> bool:
    if word.startswith("--"):
        name, equals, _ = word.partition("=")
        return name in wants_value and (not equals or wants_value[name])
    if len(word) < 2 or not word.startswith("-"):
        return False
    for letter in word[1:]:  # a cluster of flags, of which the last may have a value: -qm NAME
        if f"-{letter}" not in wants_value:
            return False
        if wants_value[f"-{letter}"]:
            return True
    return True


def _takes_next(word: str, wants_value: Mapping[str, bool]) -> bool:
    if word.startswith("--"):
        return "=" not in word and wants_value[word]
    for place, letter in enumerate(word[1:], 2):
        if wants_value[f"-{letter}"]:
            return place == len(word)
    return False
