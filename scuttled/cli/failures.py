"""Errors as a command tells them, on stderr: words for people, or with -j one JSON object.

    scuttled: no key 'k' in model default          {"v":1,"code":1,"message":"no key ...","hint":""}
    hint: ...

The code is the exit code. An end by a signal is silent for people: they sent it, or their shell
says so.
"""

import re
from collections.abc import Sequence

from scuttled.cli import output
from scuttled.cli.settings import Settings
from scuttled.errors import ScuttledError

SIGNALS = {129: "SIGHUP", 130: "SIGINT", 143: "SIGTERM"}  # by exit code

_SAYS_JSON = re.compile(r"--json|-[jlqv]*j[jlqv]*")  # among flags of one letter


def wants_json(args: Sequence[str], settings: Settings) -> bool:
    """Also where the arguments could not be read as far as the option, or at all."""
    before = args[: list(args).index("--")] if "--" in args else args
    return settings.output == "json" or any(_SAYS_JSON.fullmatch(word) for word in before)


def tell(error: ScuttledError, settings: Settings, *, json: bool) -> None:
    """Says what went wrong and, where something helps, a hint."""
    if json:
        _show(error.code, error.message, error.hint)
        return
    output.say(f"scuttled: {error.message}")
    if error.hint and not settings.quiet:
        output.say(f"hint: {error.hint}")


def tell_end(code: int, *, json: bool) -> None:
    """That a signal ended it, if it is one of these codes."""
    if json and code in SIGNALS:
        _show(code, f"ended by {SIGNALS[code]}", "")


def _show(code: int, message: str, hint: str) -> None:
    fields = {"code": code, "message": message, "hint": hint}
    output.show(output.json_line(fields).rstrip("\n"))
