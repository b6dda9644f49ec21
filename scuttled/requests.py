"""What each operation of the control protocol does (docs/control.md). Synchronous and pure.

An operation gives an answer, an answer that waits until a write is on disk, a stream that others
draw from, or a condition to wait for. How these reach the client is control's business.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from scuttled import __version__, rpc
from scuttled.core.scuttlebutt import Scuttlebutt
from scuttled.core.slots import KINDS, Slot, Slots
from scuttled.core.update import Instant, rev_text, source_text
from scuttled.errors import DataError, NoCommonProtocol, Refused, UsageError
from scuttled.loading import read_load
from scuttled.models import MODELS
from scuttled.models.map import TTL_MS_MAX, Map, check_value, key_slot
from scuttled.models.operations import call, operations
from scuttled.node import DEFAULT_MODEL, Node
from scuttled.watching import Listing, Watch

Fields = Mapping[str, Any]


class Answer(NamedTuple):
    ok: dict[str, Any]
    until: tuple[Scuttlebutt, int] | None = None  # say it when the log is saved so far


class Waiting(NamedTuple):
    """An answer to be given when a condition holds."""

    holds: Callable[[Instant], bool]


Result = Answer | Waiting | Listing | Watch


@dataclass(frozen=True, slots=True)
class Daemon:
    """What operations may ask of the daemon around the node."""

    facts: Callable[[Instant], dict[str, Any]]  # for `status`
    peers: Callable[[Instant], list[dict[str, Any]]]
    join: Callable[[list[str], bool], dict[str, Any]]
    leave: Callable[[], int]  # how many peers are told; the daemon then stops
    settings: Callable[[], list[tuple[str, str, str]]]


class Requests:
    """The operations of one daemon, by name."""

    def __init__(self, node: Node, daemon: Daemon) -> None:
        self.node = node
        self.daemon = daemon
        self._ops: dict[str, Callable[[Fields, Instant], Result]] = {
            name.removeprefix("op_"): getattr(self, name)
            for name in dir(self)
            if name.startswith("op_")
        }

    def carry_out(self, request: Fields, now: Instant) -> Result:
        """Raises ScuttledError; then nothing was changed."""
        op = request.get("op")
        found = self._ops.get(op) if isinstance(op, str) else None
        if found is None:
            raise UsageError(
                f"unknown operation {op!r:.60}", hint=f"this is scuttled {__version__}"
            )
        return found(request, now)

    # --- hello ---

    def op_hello(self, request: Fields, now: Instant) -> Answer:
        asked = request.get("protocol")
        oldest, newest = rpc.VERSIONS
        if not isinstance(asked, list) or [type(n) for n in asked] != [int, int]:
            raise UsageError(f"hello with protocol {asked!r:.60}, expected [oldest, newest]")
        common = min(newest, asked[1])
        if common < max(oldest, asked[0]):
            raise NoCommonProtocol(
                f"the client speaks control protocol {asked[0]} to {asked[1]}, "
                f"the daemon {oldest} to {newest}",
                hint="client and daemon are of different versions: scuttled version",
            )
        mine = self.node.settings
        return Answer(
            {
                "protocol": common,
                "node": self.node.author.node_id.hex(),
                "name": mine.name,
                "version": __version__,
                "incarnation": mine.incarnation.hex(),
                "cluster": mine.cluster,
            }
        )

    # --- keys and values ---

    def op_get(self, request: Fields, now: Instant) -> Answer:
        model = self._map(_text(request, "model", DEFAULT_MODEL))
        key = _text(request, "key")
        found = model.find(key, now.wall_ms)
        if found is None:
            raise Refused(f"no key '{key:.200}' in model {model.name}")
        return Answer(
            {
                "kind": KINDS[found.kind],
                "value": found.payload,
                "rev": found.rev,
                "name": self.node.name_of(found.source),
                "expires_ms": found.expires_ms,
            }
        )

    def op_set(self, request: Fields, now: Instant) -> Answer:
        key = _text(request, "key")
        key_slot(key)
        kind, value = check_value(request.get("kind"), request.get("value"))
        ttl_ms = _number(request, "ttl_ms", 0, TTL_MS_MAX)
        name = _text(request, "model", DEFAULT_MODEL)
        known = self.node.models.get(name)
        found = known.find(key, now.wall_ms) if isinstance(known, Map) else None
        self._check_conditions(request, key, found)
        model = self._map_to_write(name)
        update = model.put(key, kind, value, now.wall_ms, ttl_ms)
        self.node.accepted(model)
        return Answer({"rev": rev_text(update.timestamp, update.source)}, (model, model.log.end))

    def _check_conditions(self, request: Fields, key: str, found: Slot | None) -> None:
        if request.get("if_absent") and found is not None:
            raise Refused(f"{key:.200} not written: it is there, at rev {found.rev}")
        rev = _text(request, "if_rev", "")
        if rev and (found is None or found.rev != rev):
            seen = "it is not there" if found is None else f"it is at rev {found.rev}"
            raise Refused(f"{key:.200} not written: {seen}, not at {rev}")

    def op_load(self, request: Fields, now: Instant) -> Answer:
        load = read_load(request)
        name = _text(request, "model", DEFAULT_MODEL)
        known = name in self.node.models or name.startswith("_")
        if load.dry_run:
            model = self._map_to_write(name) if known else None
            return Answer(load.carry_out(model, now.wall_ms))
        model = self._map_to_write(name)
        counts = load.carry_out(model, now.wall_ms)
        self.node.accepted(model)
        return Answer(counts, (model, model.log.end))

    def op_del(self, request: Fields, now: Instant) -> Answer:
        keys = request.get("keys")
        if not isinstance(keys, list):
            raise UsageError("del wants keys: [key, ...]")
        for key in keys:
            key_slot(key)
        name = _text(request, "model", DEFAULT_MODEL)
        self.node.model(name)
        model = self._map_to_write(name)
        gone = [model.discard(key, now.wall_ms) for key in keys]
        self.node.accepted(model)
        count = sum(update is not None for update in gone)
        return Answer({"count": count}, (model, model.log.end))

    def op_list(self, request: Fields, now: Instant) -> Listing:
        model = self._slots(_text(request, "model", DEFAULT_MODEL))
        return Listing(
            self.node,
            model,
            _text(request, "pattern", ""),
            values=bool(request.get("values")),
            deleted=bool(request.get("deleted")),
        )

    def op_watch(self, request: Fields, now: Instant) -> Watch:
        patterns = request.get("patterns", [])
        if not isinstance(patterns, list) or not all(isinstance(p, str) for p in patterns):
            raise UsageError("watch wants patterns: [text, ...]")
        return Watch(
            self.node,
            _text(request, "model", ""),
            patterns,
            snapshot=bool(request.get("snapshot")),
            after=_text(request, "after", ""),
        )

    def op_call(self, request: Fields, now: Instant) -> Answer:
        args = request.get("args", [])
        if not isinstance(args, list):
            raise UsageError("call wants args: [...]")
        name = _text(request, "model", DEFAULT_MODEL)
        model = self.node.model(name)
        before = model.log.end
        if name.startswith("_"):
            raise Refused(f"model '{name}' is the system's: it can be read, not called")
        operation = _text(request, "operation")
        if any(op.name == operation and op.writes for op in operations(type(model))):
            self.node.check_writable()
        result = call(model, operation, args, now.wall_ms)
        try:
            rpc.encode({"result": result})
        except (ValueError, TypeError, OverflowError) as error:
            raise DataError(f"the result can't be told: {error}") from None
        if model.log.end == before:
            return Answer({"result": result})
        self.node.accepted(model)
        return Answer({"result": result}, (model, model.log.end))

    # --- models ---

    def op_model_list(self, request: Fields, now: Instant) -> Answer:
        return Answer({"models": model_list(self.node)})

    def op_model_create(self, request: Fields, now: Instant) -> Answer:
        name, data_type = _text(request, "model"), _text(request, "type", Map.data_type)
        if data_type not in MODELS:
            raise UsageError(f"data type '{data_type:.40}', allowed are {', '.join(MODELS)}")
        ttl_ms = _number(request, "ttl_ms", 0, TTL_MS_MAX)
        self.node.check_writable()
        created = self.node.create(name, data_type)
        model = self.node.models[name]
        other = "ttl_ms" in request and isinstance(model, Map) and ttl_ms != model.ttl_ms
        if isinstance(model, Map) and (model.cleared or other):
            created = created or model.cleared
            model.set_options(now.wall_ms, ttl_ms=ttl_ms)
            self.node.accepted(model)
        return Answer({"created": created}, (model, model.log.end))

    def op_model_info(self, request: Fields, now: Instant) -> Answer:
        model = self.node.model(_text(request, "model", DEFAULT_MODEL))
        log = model.log
        return Answer(
            {
                **model_line(model),
                "ttl_ms": model.ttl_ms if isinstance(model, Map) else 0,
                "sources": len(model.clock),
                "log": {"first": log.segments[0].first, "end": log.end, "live": log.live},
                "clock": {source_text(source): time for source, time in model.clock.items()},
                "operations": [
                    {"name": op.name, "args": list(op.args), "words": op.words}
                    for op in operations(type(model))
                ],
            }
        )

    def op_model_drop(self, request: Fields, now: Instant) -> Answer:
        name = _text(request, "model")
        known = self.node.model(name)
        if name == DEFAULT_MODEL:
            raise Refused("model 'default' is always there", hint="scuttled del --prefix ''")
        if isinstance(known, Slots) and known.cleared:
            raise Refused(f"no model '{name}'")
        model = self._map_to_write(name)
        count = model.clear(now.wall_ms)
        self.node.accepted(model)
        return Answer({"count": count}, (model, model.log.end))

    # --- cluster and daemon ---

    def op_peers(self, request: Fields, now: Instant) -> Answer:
        return Answer({"peers": self.daemon.peers(now)})

    def op_join(self, request: Fields, now: Instant) -> Answer:
        addresses = request.get("addresses")
        if not isinstance(addresses, list) or not all(isinstance(a, str) for a in addresses):
            raise UsageError("join wants addresses: [text, ...]")
        return Answer(self.daemon.join(addresses, bool(request.get("save"))))

    def op_leave(self, request: Fields, now: Instant) -> Answer:
        return Answer({"peers": self.daemon.leave()})

    def op_status(self, request: Fields, now: Instant) -> Answer:
        models = model_list(self.node)
        sums = {what: sum(m[what] for m in models) for what in ("keys", "tombstones", "bytes")}
        return Answer({**self.daemon.facts(now), "models": models, **sums, "pid": os.getpid()})

    def op_config(self, request: Fields, now: Instant) -> Answer:
        names = ("key", "value", "origin")
        settings = [dict(zip(names, row, strict=True)) for row in self.daemon.settings()]
        return Answer({"settings": settings})

    def op_wait(self, request: Fields, now: Instant) -> Waiting:
        conditions: list[Callable[[Instant], bool]] = []
        peers = _number(request, "peers", 0)
        if peers:
            conditions.append(lambda _: len(self.node.links) >= peers)
        if request.get("synced"):
            conditions.append(self._synced)
        key = _text(request, "key", "")
        if key:
            conditions.append(self._key_condition(request, key))
        if not conditions:
            raise UsageError("wait for what? peers, synced or key")
        return Waiting(lambda at: all(condition(at) for condition in conditions))

    def _key_condition(self, request: Fields, key: str) -> Callable[[Instant], bool]:
        name = _text(request, "model", DEFAULT_MODEL)
        wanted = request.get("value")
        if isinstance(wanted, str):
            wanted = wanted.encode("utf-8", "surrogateescape")
        key_slot(key)

        def holds(now: Instant) -> bool:
            model = self.node.models.get(name)
            found = model.find(key, now.wall_ms) if isinstance(model, Map) else None
            return found is not None and (wanted is None or found.payload == wanted)

        return holds

    def _synced(self, now: Instant) -> bool:
        """Every configured peer is linked, each link has all from both its ends, on disk."""
        up = all(peer["state"] in ("up", "self") for peer in self.daemon.peers(now))
        return up and self.node.is_saved() and all(link.synced for link in self.node.links.values())

    # --- models of a type ---

    def _slots(self, name: str) -> Slots:
        model = self.node.model(name)
        if not isinstance(model, Slots):
            raise Refused(f"model '{name}' is a {model.data_type}, which has no keys")
        return model

    def _map(self, name: str) -> Map:
        model = self.node.model(name)
        if not isinstance(model, Map):
            raise Refused(f"model '{name}' is a {model.data_type}, not a map")
        return model

    def _map_to_write(self, name: str) -> Map:
        model = self.node.model_to_write(name, Map.data_type)
        assert isinstance(model, Map)
        return model


def model_line(model: Scuttlebutt) -> dict[str, Any]:
    held = model if isinstance(model, Slots) else None
    return {
        "name": model.name,
        "type": model.data_type,
        "keys": held.keys if held else model.log.live,
        "tombstones": held.tombstones if held else 0,
        "bytes": held.bytes if held else 0,
    }


def model_list(node: Node) -> list[dict[str, Any]]:
    """The users' models, but for dropped ones."""
    models = (m for m in node.user_models() if not (isinstance(m, Slots) and m.cleared))
    return [model_line(model) for model in sorted(models, key=lambda model: model.name)]


def _text(request: Fields, name: str, default: str | None = None) -> str:
    value = request.get(name, default)
    if not isinstance(value, str):
        raise UsageError(f"{name} {value!r:.60}, expected text")
    return value


def _number(request: Fields, name: str, default: int, most: int = 2**63) -> int:
    value = request.get(name, default)
    if type(value) is not int or not 0 <= value <= most:
        raise UsageError(f"{name} {value!r:.60}, expected a whole number from 0 to {most}")
    return value
