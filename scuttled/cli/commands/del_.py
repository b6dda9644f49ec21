"""`scuttled del`: delete keys, one by one or by prefix."""

import shlex

import click

from scuttled.cli import output
from scuttled.cli.candidates import complete_keys
from scuttled.cli.dashed_arguments import DashedVerb
from scuttled.cli.model_keys import deletions, existing
from scuttled.cli.options import verb
from scuttled.cli.output import counted
from scuttled.cli.settings import Settings
from scuttled.cli.wait_option import Level, held_fields, held_words, wait_fields, wait_option
from scuttled.client.patterns import is_pattern
from scuttled.errors import Refused


@verb(
    "del",
    cls=DashedVerb,
    examples="""
        scuttled set old/key value && scuttled del old/key
        scuttled del --prefix old/ --dry-run
        scuttled set old/key value && scuttled del --prefix old/ --yes
    """,
)
@click.argument("keys", nargs=-1, required=True, metavar="KEY...", shell_complete=complete_keys)
@click.option("--prefix", is_flag=True, help="Delete every key that begins with KEY.")
@click.option("--dry-run", is_flag=True, help="Write the keys that would go, and delete nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before deleting by prefix.")
@wait_option
def command(
    settings: Settings, keys: tuple[str, ...], prefix: bool, dry_run: bool, yes: bool, wait: Level
) -> None:
    """Delete each KEY, on all nodes. Exits with 1 if none of them existed.

    KEY is taken as it stands, also with --prefix: * and ? are no patterns here. One that begins
    with -- stands behind --.
    """
    if prefix and not dry_run:
        settings.check_can_ask("delete by prefix", yes=yes)
    with settings.connect() as client:
        targets = list(keys)
        if prefix or dry_run:
            targets = existing(client, settings.model, keys, prefix=prefix)
        if dry_run:
            _show_targets(settings, targets)
            return
        if prefix and targets:
            settings.confirm(f"delete {counted(len(targets))} of model {settings.model}", yes=yes)
        *most, last = [*deletions(settings.model, targets)] or [("del", {"keys": []})]
        count = 0
        try:
            for done in client.pipeline(most):
                count += done["count"]
            op, fields = last
            done = client.request(op, **fields, **wait_fields(settings, wait))
        except BaseException:
            if most:
                output.say(f"scuttled: cut short: {counted(count)} deleted by now, maybe more")
            raise
        count += done["count"]
    if settings.json:
        output.emit({"model": settings.model, "count": count, **held_fields(done)})
    if not count:
        raise _none(keys, settings.model)
    settings.say(f"{counted(count)} deleted from {settings.model}{held_words(done)}")


def _show_targets(settings: Settings, keys: list[str]) -> None:
    for key in keys:
        if settings.json:
            output.emit({"model": settings.model, "key": key, "dry_run": True})
        else:
            output.write(output.plain_line([key]))
    settings.say(f"would delete {counted(len(keys))} from {settings.model}")


def _none(keys: tuple[str, ...], model: str) -> Refused:
    words = f"no key {keys[0]!r}" if len(keys) == 1 else "none of these keys"
    hint = ""
    if is_pattern(keys[0]):  # taken as it stands: deleting many must never be a slip
        hint = f"scuttled del --dry-run --prefix {shlex.quote(keys[0].rstrip('*'))}"
    return Refused(f"nothing deleted: {words} in model {model}", hint=hint)
