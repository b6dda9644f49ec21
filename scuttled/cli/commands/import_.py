"""`scuttled import`: read a whole file, and only if all of it is good, write it into models."""

import shlex
import time

import click

from scuttled.cli.files import open_to_reread
from scuttled.cli.import_contents import Contents
from scuttled.cli.import_run import ImportRun
from scuttled.cli.import_tally import ImportTally
from scuttled.cli.options import verb
from scuttled.cli.progress import Progress
from scuttled.cli.settings import Settings
from scuttled.errors import DataError, Refused, UsageError

_STDIN = "standard input"


@verb(
    "import",
    examples="""
        scuttled export backup.ndjson && scuttled import backup.ndjson
        scuttled import --dry-run --under old/ backup.ndjson
        scuttled import --mode replace --under old/ --yes backup.ndjson
        scuttled export --all-models all.ndjson && scuttled import all.ndjson
        printf 'svc/web\\t10.0.0.1:80\\n' | scuttled import --tsv -
    """,
)
@click.argument("file")
@click.option(
    "--mode",
    type=click.Choice(["merge", "missing", "replace"]),
    default="merge",
    show_default=True,
    help="What becomes of keys that are there: see above.",
)
@click.option("--tsv", is_flag=True, help="Lines of KEY, a tab, VALUE, escaped as `ls -l` does.")
@click.option("--under", default="", metavar="P", help="Put P before every key.")
@click.option("--dry-run", is_flag=True, help="Tell what would be done, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before --mode replace deletes keys.")
def command(
    settings: Settings, file: str, mode: str, tsv: bool, under: str, dry_run: bool, yes: bool
) -> None:
    """Set all keys of FILE, or none if FILE is damaged.

    An export wrote it, or any program that writes JSON lines with "key" and "value" (or
    "value_b64").

    merge leaves alone what is so already, and keys that are not in FILE. missing sets only keys
    that this node does not have. replace makes the model what FILE says, and deletes its other
    keys; with --under, or after export --prefix, only among the keys that begin so.

    A FILE of all models goes to its models, which are made where they are missing; with -m
    MODEL only that one is taken from it. Models that are no maps are made anew where there is
    nothing of them, or by replace; else they are left alone. Keys of an export expire when they
    would have, others after the model's TTL, if it has one; keys whose time is over are skipped.
    """
    try:
        under.encode()
    except UnicodeEncodeError:
        raise UsageError(f"--under {under!r} is not UTF-8") from None
    name = _STDIN if file == "-" else file
    tally = ImportTally(settings, dry_run=dry_run)
    with tally.told_if_cut_short(), open_to_reread(file) as source:
        contents = Contents(source, name, tsv=tsv, under=under)
        _check(settings, contents, replace=mode == "replace")
        _say_what_repeats(settings, contents)
        targets = _targets(settings, contents)
        with settings.connect() as client:
            run = ImportRun(settings, client, contents, targets, tally, mode=mode, dry_run=dry_run)
            if not dry_run:
                run.confirm(yes=yes)
            run.write()
    tally.tell()
    if len(targets) < len(contents.parts):
        others = len(contents.parts) - len(targets)
        settings.say(f"{others} of the {len(contents.parts)} models in {name} left out")
    if run.left_out:
        raise Refused(
            f"{', '.join(run.left_out)} left out, the rest of {name} is imported",
            hint="a daemon that knows the type: scuttled serve --types PACKAGE.MODULE:CLASS",
        )


def _check(settings: Settings, contents: Contents, *, replace: bool) -> None:
    """Reads all of the file. Raises DataError, and then there was nothing but reading."""
    try:
        with Progress("checking", contents.size, settings) as progress:
            contents.check(int(time.time() * 1000), progress)
        if replace and contents.header is None and not contents.parts[""].places:
            # More likely a program in a pipe that failed than somebody's wish.
            raise DataError("it holds no keys", hint="to delete all: scuttled del --prefix ''")
    except DataError as error:
        words = f"nothing imported: {contents.name}: {error.message}"
        hint = error.hint
        if contents.name != _STDIN:
            hint = hint.replace("FILE", shlex.quote(contents.name))  # as it can be pasted
        raise DataError(words, hint=hint) from error


def _say_what_repeats(settings: Settings, contents: Contents) -> None:
    """Of a key that comes twice the last line counts, as if they had been set one by one."""
    for part in contents.parts.values():
        if part.repeated:
            lines = "1 line" if part.repeated == 1 else f"{part.repeated:,} lines"
            settings.say(
                f"scuttled: {contents.name}: {lines} with a key that came before, and the last one"
                f" counts: {part.first_repeated}"
            )


def _targets(settings: Settings, contents: Contents) -> dict[str, str]:
    """The model that each part of the file goes to. Raises Refused if there is no such part."""
    if not contents.all_models:
        return {"": settings.model}
    wanted = settings.named_model
    if not wanted:
        return {model: model for model in contents.parts}
    if wanted not in contents.parts:
        has = ", ".join(contents.parts) or "no model at all"
        raise Refused(f"nothing imported: no model {wanted!r} in {contents.name}, which has {has}")
    return {wanted: wanted}
