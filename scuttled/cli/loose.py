"""Commands that take any word for an argument that is not one of their options."""

from collections.abc import Mapping

import click

from scuttled.cli.options import Verb


class LooseVerb(Verb):
    """A command whose arguments may begin with a dash: `set k -5` needs no `--`.

    What is not one of its options, as a whole, is an argument. (click's own way to be loose
    picks known letters out of unknown words: `-5v` would become -5 and --verbose.)
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        wants_value = {
            name: not (param.is_flag or param.count)
            for param in self.get_params(ctx)
            if isinstance(param, click.Option)
            for name in (*param.opts, *param.secondary_opts)
        }
        options, arguments = _sort_out(args, wants_value)
        return super().parse_args(ctx, [*options, *arguments])


def _sort_out(args: list[str], wants_value: Mapping[str, bool]) -> tuple[list[str], list[str]]:
    """(options with their values, the rest). `wants_value` has all options by name."""
    options: list[str] = []
    arguments: list[str] = []
    rest = iter(args)
    for word in rest:
        if word == "--":
            arguments += rest
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
