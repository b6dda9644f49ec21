"""`scuttled import`: read a whole file, and only if all of it is good, write it into models."""

import shlex
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from scuttled.cli import output
from scuttled.cli.commands.del_ import deletions, existing
from scuttled.cli.files import open_to_reread
from scuttled.cli.import_contents import Contents, Part
from scuttled.cli.import_format import DATA_TYPE, ImportEntry
from scuttled.cli.import_models import calls, canonical, plain_state, state_of
from scuttled.cli.options import verb
from scuttled.cli.output import counted
from scuttled.cli.own_types import merge
from scuttled.cli.progress import Progress
from scuttled.cli.settings import Settings
from scuttled.client.client import Client
from scuttled.errors import DataError, Refused, UsageError

_PAIRS_PER_REQUEST = 500
_BYTES_PER_REQUEST = 256 << 10

STDIN = "standard input"
MODES = ("merge", "missing", "replace")
Targets = dict[str, str]  # part of the file -> the model it goes to
Known = dict[str, int]  # the models that are there -> how many keys they have
Counts = dict[str, Counter[str]]  # model -> how many of its keys were set, left, expired, deleted
Sent = deque[tuple[str, int]]  # model and number of keys of each request without an answer yet


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
    type=click.Choice(MODES),
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
    _check_prefix(under)
    name = STDIN if file == "-" else file
    counts: Counts = {}
    sent: Sent = deque()
    with (
        _told_if_cut_short(settings, counts, sent, dry_run=dry_run),
        open_to_reread(file) as source,
    ):
        contents = Contents(source, name, tsv=tsv, under=under)
        _check(settings, contents, name, replace=mode == "replace")
        _say_what_repeats(settings, contents, name)
        targets = _targets(settings, contents, name)
        with settings.connect() as client:
            known = _known(client, contents, targets)
            maps = {of: to for of, to in targets.items() if contents.parts[of].is_map}
            own = {of: to for of, to in targets.items() if contents.parts[of].own is not None}
            typed = {of: to for of, to in targets.items() if of not in maps and of not in own}
            extra = _extra(client, contents, maps, known) if mode == "replace" else {}
            if not dry_run:
                _confirm(settings, extra, name, yes=yes)
                _confirm_again(settings, known, typed, yes=yes or mode != "replace")
                _create(client, contents, maps, known, replace=mode == "replace")
            _send(settings, client, contents, maps, counts, sent, mode=mode, dry_run=dry_run)
            _delete(settings, client, extra, counts, dry_run=dry_run)
            _restore(client, contents, typed, known, counts, mode=mode, dry_run=dry_run)
            left_out = _merge(client, contents, own, counts, mode=mode, dry_run=dry_run)
    _tell(settings, counts, dry_run=dry_run)
    if len(targets) < len(contents.parts):
        others = len(contents.parts) - len(targets)
        settings.say(f"{others} of the {len(contents.parts)} models in {name} left out")
    if left_out:
        raise Refused(
            f"{', '.join(left_out)} left out, the rest of {name} is imported",
            hint="a daemon that knows the type: scuttled serve --types PACKAGE.MODULE:CLASS",
        )


@contextmanager
def _told_if_cut_short(
    settings: Settings, counts: Counts, sent: Sent, *, dry_run: bool
) -> Iterator[None]:
    """Around all of it: whatever ends it half-way, people are told what is in by then."""
    try:
        yield
    except BaseException as error:
        by_signal = not isinstance(error, Exception)
        if not dry_run and (counts or by_signal):
            words = f"cut short: {_how_far(counts, sent)}"
            told = output.json_line({"message": words}).rstrip() if settings.json else None
            output.say(told or f"scuttled: {words}")
        raise


def _how_far(counts: Counts, sent: Sent) -> str:
    parts = []
    for model, count in counts.items():
        in_flight = sum(keys for to, keys in sent if to == model)
        if not count.total() and not in_flight:
            continue
        part = f"{counted(count['count'])} imported into {model}"
        if in_flight:
            part += f" (and up to {in_flight:,} more, not yet answered)"
        if count["left"]:
            part += f", {count['left']:,} left alone"
        if count["deleted"]:
            part += f", {count['deleted']:,} deleted"
        parts.append(part)
    if not parts:
        return "nothing was imported"
    return f"{'; '.join(parts)}; begun again it leaves alone what is in"


def _check_prefix(under: str) -> None:
    try:
        under.encode()
    except UnicodeEncodeError:
        raise UsageError(f"--under {under!r} is not UTF-8") from None


def _check(settings: Settings, contents: Contents, name: str, *, replace: bool) -> None:
    """Reads all of the file. Raises DataError, and then there was nothing but reading."""
    try:
        with Progress("checking", contents.size, settings) as progress:
            contents.check(int(time.time() * 1000), progress)
        if replace and contents.header is None and not contents.parts[""].places:
            # More likely a program in a pipe that failed than somebody's wish.
            raise DataError("it holds no keys", hint="to delete all: scuttled del --prefix ''")
    except DataError as error:
        words = f"nothing imported: {name}: {error.message}"
        hint = error.hint
        if name != STDIN:
            hint = hint.replace("FILE", shlex.quote(name))  # as it can be pasted
        raise DataError(words, hint=hint) from error


def _say_what_repeats(settings: Settings, contents: Contents, name: str) -> None:
    """Of a key that comes twice the last line counts, as if they had been set one by one."""
    for part in contents.parts.values():
        if part.repeated:
            lines = "1 line" if part.repeated == 1 else f"{part.repeated:,} lines"
            settings.say(
                f"scuttled: {name}: {lines} with a key that came before, and the last one"
                f" counts: {part.first_repeated}"
            )


def _targets(settings: Settings, contents: Contents, name: str) -> Targets:
    if not contents.all_models:
        return {"": settings.model}
    wanted = settings.named_model
    if not wanted:
        return {model: model for model in contents.parts}
    if wanted not in contents.parts:
        has = ", ".join(contents.parts) or "no model at all"
        raise Refused(f"nothing imported: no model {wanted!r} in {name}, which has {has}")
    return {wanted: wanted}


def _known(client: Client, contents: Contents, targets: Targets) -> Known:
    """The models that are there. Raises Refused if one that is to be written is of another type."""
    models = {model["name"]: model for model in client.request("model_list")["models"]}
    for part, name in targets.items():
        wanted = contents.parts[part].data_type
        kind = models[name]["type"] if name in models else wanted
        if kind != wanted:
            raise Refused(f"nothing imported: model '{name}' is a {kind}, not a {wanted}")
    return {name: model["keys"] for name, model in models.items()}


def _restore(
    client: Client,
    contents: Contents,
    targets: Targets,
    known: Known,
    counts: Counts,
    *,
    mode: str,
    dry_run: bool,
) -> None:
    """Models that are no maps: made where there is nothing of them, or in place of what is."""
    for name, model in targets.items():
        count = counts[model] = _no_counts()
        part, held = contents.parts[name], known.get(model, 0)
        if held and (mode != "replace" or _is_so(client, model, part)):
            count["left"] = held
            continue
        todo = [
            ("call", {"model": model, "operation": operation, "args": args})
            for operation, args in calls(part.data_type, part.state)
        ]
        if dry_run:
            count["count"], count["deleted"] = len(todo), held
            continue
        if held:
            client.request("model_drop", model=model)
            count["deleted"] = held
        client.request("model_create", model=model, type=part.data_type)
        for _ in client.pipeline(todo):
            count["count"] += 1


def _no_counts() -> Counter[str]:
    return Counter(count=0, left=0, expired=0, deleted=0)


def _is_so(client: Client, model: str, part: Part) -> bool:
    """Whether the model is what the file says: then nothing is to be done."""
    try:
        got = client.request("get", model=model)
    except DataError:  # too large to be got at once
        return False
    state = plain_state(part.data_type, state_of(part.data_type, got["kind"], got["value"]))
    return canonical(state) == canonical(part.state)


def _merge(
    client: Client,
    contents: Contents,
    targets: Targets,
    counts: Counts,
    *,
    mode: str,
    dry_run: bool,
) -> list[str]:
    """Models of a type of somebody else's; the names of those that were left out."""
    left_out = []
    for name, model in targets.items():
        fields = contents.parts[name].own
        assert fields is not None
        try:
            done = merge(client, model, fields, replace=mode == "replace", dry_run=dry_run)
        except (Refused, UsageError, DataError) as error:
            output.say(f"scuttled: left out: {model}: {error.message}")
            left_out.append(model)
        else:
            counts[model] = Counter(expired=0, **done)
    return left_out


def _extra(
    client: Client, contents: Contents, targets: Targets, known: Known
) -> dict[str, list[str]]:
    """The keys of each model that are there and, as the file has it, should not be."""
    extra = {}
    for name, model in targets.items():
        if model in known:
            held = existing(client, model, (contents.prefix,), prefix=True)
            keys = [key for key in held if not contents.parts[name].has(key)]
            if keys:
                extra[model] = keys
    return extra


def _confirm(settings: Settings, extra: dict[str, list[str]], name: str, *, yes: bool) -> None:
    if extra:
        count = sum(map(len, extra.values()))
        word = "model" if len(extra) == 1 else "models"
        what = f"delete {counted(count)} of {word} {', '.join(extra)} not in {name}"
        settings.check_can_ask(what, yes=yes)
        settings.confirm(what, yes=yes)


def _confirm_again(settings: Settings, known: Known, typed: Targets, *, yes: bool) -> None:
    """Of models that are no maps all is deleted, to be made anew."""
    held = [model for model in typed.values() if known.get(model)]
    if held and not yes:
        what = f"make anew what is there: {', '.join(held)}"
        settings.check_can_ask(what, yes=yes)
        settings.confirm(what, yes=yes)


def _create(
    client: Client, contents: Contents, targets: Targets, known: Known, *, replace: bool
) -> None:
    """New models get the settings they had; those that are there keep theirs, but for replace."""
    for name, model in targets.items():
        ttl_ms = contents.parts[name].ttl_ms
        if ttl_ms is not None and (replace or _is_new(client, model, known)):
            client.request("model_create", model=model, type=DATA_TYPE, ttl_ms=ttl_ms)


def _is_new(client: Client, model: str, known: Known) -> bool:
    """`default` is there from the start: it is new while it has neither keys nor a TTL."""
    if model not in known:
        return True
    return not known[model] and not client.request("model_info", model=model)["ttl_ms"]


def _send(
    settings: Settings,
    client: Client,
    contents: Contents,
    targets: Targets,
    counts: Counts,
    sent: Sent,
    *,
    mode: str,
    dry_run: bool,
) -> None:
    counts.update({model: _no_counts() for model in targets.values()})
    how = {"mode": "missing" if mode == "missing" else "merge", "dry_run": dry_run}

    def requests() -> Iterator[tuple[str, dict[str, Any]]]:
        for name, fields in _batches(contents.entries(targets.keys(), progress)):
            sent.append((targets[name], len(fields["expires_ms"])))
            yield "load", {"model": targets[name], **fields, **how}

    with Progress("importing", contents.size, settings) as progress:
        for done in client.pipeline(requests()):
            model, _ = sent.popleft()
            counts[model].update(done)


def _batches(entries: Iterator[tuple[str, ImportEntry]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Fields of `load`s, each of one part of the file and one kind of value."""
    pending: dict[tuple[str, str], _Batch] = {}
    last = ""
    for name, entry in entries:
        if name != last:
            yield from ((of, batch.fields(kind)) for (of, kind), batch in pending.items())
            pending, last = {}, name
        batch = pending.setdefault((name, entry.kind), _Batch())
        batch.add(entry)
        if batch.is_full:
            yield name, batch.fields(entry.kind)
            del pending[name, entry.kind]
    yield from ((of, batch.fields(kind)) for (of, kind), batch in pending.items())


class _Batch:
    def __init__(self) -> None:
        self._pairs: list[object] = []
        self._expiries: list[int | None] = []
        self._bytes = 0

    def add(self, entry: ImportEntry) -> None:
        self._pairs += [entry.key, entry.value]
        self._expiries.append(entry.expires_ms)
        self._bytes += len(entry.key) + len(entry.value)

    @property
    def is_full(self) -> bool:
        return len(self._expiries) >= _PAIRS_PER_REQUEST or self._bytes >= _BYTES_PER_REQUEST

    def fields(self, kind: str) -> dict[str, Any]:
        return {"kind": kind, "pairs": self._pairs, "expires_ms": self._expiries}


def _delete(
    settings: Settings,
    client: Client,
    extra: dict[str, list[str]],
    counts: Counts,
    *,
    dry_run: bool,
) -> None:
    for model, keys in extra.items():
        if not dry_run:
            for answer in client.pipeline(deletions(model, keys)):
                counts[model]["deleted"] += answer["count"]
            continue
        counts[model]["deleted"] = len(keys)
        for key in keys:
            if settings.json:
                output.emit({"model": model, "key": key, "op": "del", "dry_run": True})
            else:
                output.write(output.plain_line([key, model]))


def _tell(settings: Settings, counts: Counts, *, dry_run: bool) -> None:
    for model, count in counts.items():
        if settings.json:
            output.emit({"model": model, **count, **({"dry_run": True} if dry_run else {})})
        words = [f"{counted(count['count'])} {'would be ' * dry_run}imported into {model}"]
        words += [f"{count['left']:,} left alone"] * bool(count["left"])
        words += [f"{count['expired']:,} expired"] * bool(count["expired"])
        words += [f"{count['deleted']:,} deleted"] * bool(count["deleted"])
        settings.say(", ".join(words))
