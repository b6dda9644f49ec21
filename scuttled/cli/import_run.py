"""One import, from a file that was found good into the models of a daemon.

Nothing is written before the daemon was asked for its models and a person, if need be, for
leave. Three kinds of model are treated each in its own way: maps, whose keys are set one by one;
the other types we know, which are made anew as a whole; and types of somebody else's, whose
updates only a daemon understands.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from scuttled.cli import output
from scuttled.cli.import_contents import Contents, Part
from scuttled.cli.import_format import DATA_TYPE, ImportEntry
from scuttled.cli.import_models import calls, canonical, plain_state, state_of
from scuttled.cli.import_tally import ImportTally
from scuttled.cli.model_keys import deletions, existing
from scuttled.cli.output import counted
from scuttled.cli.own_types import merge
from scuttled.cli.progress import Progress
from scuttled.cli.settings import Settings
from scuttled.client.client import Client
from scuttled.errors import DataError, Refused, UsageError

_PAIRS_PER_REQUEST = 500
_BYTES_PER_REQUEST = 256 << 10


class ImportRun:
    """Parts of a file and the models they go to: `confirm` asks, `write` does it."""

    def __init__(
        self,
        settings: Settings,
        client: Client,
        contents: Contents,
        targets: Mapping[str, str],
        tally: ImportTally,
        *,
        mode: str,
        dry_run: bool,
    ) -> None:
        """`targets`: the model that each part of the file goes to. Raises Refused if one that is
        there is of another type.
        """
        self.left_out: list[str] = []  # models that this daemon can't take
        self._settings = settings
        self._client = client
        self._contents = contents
        self._tally = tally
        self._mode = mode
        self._replace = mode == "replace"
        self._dry_run = dry_run

        self._maps: dict[str, str] = {}
        self._typed: dict[str, str] = {}
        self._own: dict[str, str] = {}
        for name, model in targets.items():
            part = contents.parts[name]
            if part.is_map:
                self._maps[name] = model
            elif part.own is None:
                self._typed[name] = model
            else:
                self._own[name] = model
        self._known = self._models_there(targets)  # how many keys each has
        self._surplus = self._keys_not_in_file() if self._replace else {}

    def _models_there(self, targets: Mapping[str, str]) -> dict[str, int]:
        models = {model["name"]: model for model in self._client.request("model_list")["models"]}
        for name, model in targets.items():
            wanted = self._contents.parts[name].data_type
            kind = models[model]["type"] if model in models else wanted
            if kind != wanted:
                raise Refused(f"nothing imported: model '{model}' is a {kind}, not a {wanted}")
        return {name: model["keys"] for name, model in models.items()}

    def _keys_not_in_file(self) -> dict[str, list[str]]:
        """The keys of each map that are there and, as the file has it, should not be."""
        surplus = {}
        for name, model in self._maps.items():
            if model not in self._known:
                continue
            part = self._contents.parts[name]
            held = existing(self._client, model, (self._contents.prefix,), prefix=True)
            keys = [key for key in held if not part.has(key)]
            if keys:
                surplus[model] = keys
        return surplus

    def confirm(self, *, yes: bool) -> None:
        """Asks a person before `replace` takes away what is there."""
        if self._surplus:
            count = sum(map(len, self._surplus.values()))
            word = "model" if len(self._surplus) == 1 else "models"
            models = ", ".join(self._surplus)
            name = self._contents.name
            self._ask(f"delete {counted(count)} of {word} {models} not in {name}", yes=yes)
        held = [model for model in self._typed.values() if self._known.get(model)]
        if held and self._replace and not yes:
            self._ask(f"make anew what is there: {', '.join(held)}", yes=yes)

    def _ask(self, what: str, *, yes: bool) -> None:
        self._settings.check_can_ask(what, yes=yes)
        self._settings.confirm(what, yes=yes)

    def write(self) -> None:
        """Does it, or counts what it would do."""
        if not self._dry_run:
            self._create_maps()
        self._load_maps()
        self._delete_surplus()
        for name, model in self._typed.items():
            self._make_anew(model, self._contents.parts[name])
        for name, model in self._own.items():
            self._merge(model, self._contents.parts[name])

    # -- maps

    def _create_maps(self) -> None:
        """New models get the TTL they had; those that are there keep theirs, but for replace."""
        for name, model in self._maps.items():
            ttl_ms = self._contents.parts[name].ttl_ms
            if ttl_ms is not None and (self._replace or self._is_new(model)):
                self._client.request("model_create", model=model, type=DATA_TYPE, ttl_ms=ttl_ms)

    def _is_new(self, model: str) -> bool:
        """`default` is there from the start: it is new while it has neither keys nor a TTL."""
        if model not in self._known:
            return True
        if self._known[model]:
            return False
        return not self._client.request("model_info", model=model)["ttl_ms"]

    def _load_maps(self) -> None:
        for model in self._maps.values():
            self._tally.begin(model)
        # The keys that `replace` deletes are not among those of the file, so for what is set it
        # is a merge.
        mode = "missing" if self._mode == "missing" else "merge"

        def requests() -> Iterator[tuple[str, dict[str, Any]]]:
            for name, fields in batches(self._contents.entries(self._maps.keys(), progress)):
                model = self._maps[name]
                self._tally.sent(model, len(fields["expires_ms"]))
                yield "load", {"model": model, **fields, "mode": mode, "dry_run": self._dry_run}

        with Progress("importing", self._contents.size, self._settings) as progress:
            for done in self._client.pipeline(requests()):
                self._tally.answered(done)

    def _delete_surplus(self) -> None:
        for model, keys in self._surplus.items():
            count = self._tally[model]
            if not self._dry_run:
                for answer in self._client.pipeline(deletions(model, keys)):
                    count["deleted"] += answer["count"]
                continue
            count["deleted"] = len(keys)
            for key in keys:
                if self._settings.json:
                    output.emit({"model": model, "key": key, "op": "del", "dry_run": True})
                else:
                    output.write(output.plain_line([key, model]))

    # -- models that are no maps

    def _make_anew(self, model: str, part: Part) -> None:
        """Made only where there is nothing of it, or in place of what is there: to merge a log or a
        counter into itself would count everything twice.
        """
        count = self._tally.begin(model)
        held = self._known.get(model, 0)
        if held and not (self._replace and self._differs(model, part)):
            count["left"] = held
            return
        todo = [
            ("call", {"model": model, "operation": operation, "args": args})
            for operation, args in calls(part.data_type, part.state)
        ]
        if self._dry_run:
            count["count"] = len(todo)
            count["deleted"] = held
            return
        if held:
            self._client.request("model_drop", model=model)
            count["deleted"] = held
        self._client.request("model_create", model=model, type=part.data_type)
        for _ in self._client.pipeline(todo):
            count["count"] += 1

    def _differs(self, model: str, part: Part) -> bool:
        """True unless the model is what the file says, and nothing is to be done."""
        try:
            got = self._client.request("get", model=model)
        except DataError:  # too large to be got at once
            return True
        state = plain_state(part.data_type, state_of(part.data_type, got["kind"], got["value"]))
        return canonical(state) != canonical(part.state)

    def _merge(self, model: str, part: Part) -> None:
        """A model of a type of somebody else's. One that the daemon can't take is left out."""
        assert part.own is not None
        try:
            done = merge(
                self._client, model, part.own, replace=self._replace, dry_run=self._dry_run
            )
        except (Refused, UsageError, DataError) as error:
            output.say(f"scuttled: left out: {model}: {error.message}")
            self.left_out.append(model)
        else:
            self._tally.put(model, Counter(expired=0, **done))


def batches(entries: Iterator[tuple[str, ImportEntry]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Fields of `load`s, each of one part of the file and one kind of value."""
    pending: dict[tuple[str, str], _Batch] = {}
    last = ""
    for name, entry in entries:
        if name != last:
            yield from ((of, batch.fields(kind)) for (of, kind), batch in pending.items())
            pending = {}
            last = name
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
