"""Operations on models, keys and values."""

from typing import Any

from scuttled.client import protocol
from scuttled.control.bulk_load import read_load
from scuttled.control.cursors import check_clocks, split_cursor
from scuttled.control.event_stream import EventStream
from scuttled.control.results import (
    Answer,
    Fields,
    Operations,
    Waiting,
    flag,
    model_line,
    model_list,
    number,
    text,
)
from scuttled.control.scan import Scan
from scuttled.control.tally import Tally
from scuttled.control.watch import PATTERNS_MAX, Watch
from scuttled.control.write_concern import WriteConcern, check_can_hold, check_level
from scuttled.errors import DataError, Refused, UsageError
from scuttled.models.events import Events, check_name
from scuttled.models.map import TTL_MS_MAX, Map, key_slot
from scuttled.models.operations import call, operations
from scuttled.models.payload import check_value, exact
from scuttled.models.registry import MODELS
from scuttled.models.whole import whole
from scuttled.node.node import DEFAULT_MODEL
from scuttled.replica.change import SLOT_BYTES_MAX, Slot
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.slots import OPTION_MS_MAX, Slots
from scuttled.replica.update import Instant, rev_text, source_text

OPTIONS_MS = ("ttl_ms", "keep_ms")  # what a model can be created with
WHOLE_BYTES_MAX = 768 << 10  # of a model that is got as one value
EVENTS_MODEL = "events"  # of emit and on, if none is named
DEPTH_MAX = SLOT_BYTES_MAX  # slashes in a key
PATIENCE_S = 35.0  # until a node has what a watch's cursor covers: redials take up to 30 s
ALONE_PATIENCE_S = 3.0  # if it knows of nobody who could bring that
WAIT_MS = 5_000  # for others to have a write, if nothing is said
WAIT_MS_MAX = 7 * 86_400_000


class DataOperations(Operations):
    # --- keys and values ---

    def op_get(self, request: Fields, now: Instant) -> Answer:
        if "key" not in request:
            return self._whole(self.node.model(text(request, "model", DEFAULT_MODEL)))
        model = self._slots(text(request, "model", DEFAULT_MODEL))
        key = text(request, "key")
        if isinstance(model, Map):
            found = model.find(key, now.wall_ms)
        else:
            found = model.find_label(key.encode("utf-8", "surrogateescape"))
        if found is None:
            raise Refused(f"no key '{key:.200}' in model {model.name}")
        kind, value = model.value(found)
        return Answer(
            {
                "kind": kind,
                "value": value,
                "rev": found.rev,
                "name": self.node.name_of(found.source),
                "expires_ms": found.expires_ms,
            }
        )

    def _whole(self, model: Scuttlebutt) -> Answer:
        kind, value = whole(model)
        if len(value) > WHOLE_BYTES_MAX:
            size, most = len(value), WHOLE_BYTES_MAX
            raise DataError(
                f"model {model.name} is {size:,} bytes as JSON, at most {most:,} are got at once",
                hint=f"scuttled -m {model.name} ls -l",
            )
        return Answer({"kind": kind, "value": value})

    def op_set(self, request: Fields, now: Instant) -> Answer | Waiting:
        key = text(request, "key")
        key_slot(key)
        self._check_wait(request, now)
        kind, value = check_value(request.get("kind"), request.get("value"))
        ttl_ms = number(request, "ttl_ms", 0, TTL_MS_MAX)
        name = text(request, "model", DEFAULT_MODEL)
        known = self.node.models.get(name)
        found = known.find(key, now.wall_ms) if isinstance(known, Map) else None
        self._check_conditions(request, key, found)
        model = self._map_to_write(name)
        update = model.put(key, kind, value, now.wall_ms, ttl_ms)
        self.node.accepted(model)
        return self._written(
            model, {"rev": rev_text(update.timestamp, update.source)}, request, now
        )

    def _check_wait(self, request: Fields, now: Instant) -> None:
        """Before anything is written."""
        number(request, "wait_ms", WAIT_MS, WAIT_MS_MAX)
        if request.get("wait") is not None:
            check_can_hold(self.node, check_level(request["wait"]), now.wall_ms)

    def _written(
        self, model: Scuttlebutt, ok: dict[str, Any], request: Fields, now: Instant
    ) -> Answer | Waiting:
        """The answer once the write is on disk here and, if `wait` says so, with others."""
        answer = Answer(ok, (model, model.log.end))
        if request.get("wait") is None:
            return answer
        holders = WriteConcern(self.node, model, check_level(request["wait"]))

        def late(at: Instant) -> dict[str, Any]:
            raise holders.too_late(at.wall_ms)

        return Waiting(
            holds=lambda at: answer.saved and holders.enough(at.wall_ms),
            answer=lambda at: {**ok, **holders.facts(at.wall_ms)},
            until=answer.until,
            deadline_s=now.mono_s + number(request, "wait_ms", WAIT_MS, WAIT_MS_MAX) / 1000,
            late=late,
        )

    def _check_conditions(self, request: Fields, key: str, found: Slot | None) -> None:
        if flag(request, "if_absent") and found is not None:
            raise Refused(f"{key:.200} not written: it is there, at rev {found.rev}")
        rev = text(request, "if_rev", "")
        if rev and (found is None or found.rev != rev):
            seen = "it is not there" if found is None else f"it is at rev {found.rev}"
            raise Refused(f"{key:.200} not written: {seen}, not at {rev}")

    def op_load(self, request: Fields, now: Instant) -> Answer:
        load = read_load(request)
        name = text(request, "model", DEFAULT_MODEL)
        known = name in self.node.models or name.startswith("_")
        if load.dry_run:
            model = self._map_to_write(name) if known else None
            return Answer(load.carry_out(model, now.wall_ms))
        model = self._map_to_write(name)
        counts = load.carry_out(model, now.wall_ms)
        self.node.accepted(model)
        return Answer(counts, (model, model.log.end))

    def op_del(self, request: Fields, now: Instant) -> Answer | Waiting:
        keys = request.get("keys")
        if not isinstance(keys, list):
            raise UsageError("del wants keys: [key, ...]")
        self._check_wait(request, now)
        for key in keys:
            key_slot(key)
        name = text(request, "model", DEFAULT_MODEL)
        self.node.model(name)
        model = self._map_to_write(name)
        gone = [model.discard(key, now.wall_ms) for key in keys]
        self.node.accepted(model)
        count = sum(update is not None for update in gone)
        if not count:  # nothing was written that others could have
            return Answer({"count": 0}, (model, model.log.end))
        return self._written(model, {"count": count}, request, now)

    def op_list(self, request: Fields, now: Instant) -> Scan:
        model = self._slots(text(request, "model", DEFAULT_MODEL))
        return Scan(
            self.node,
            model,
            text(request, "pattern", ""),
            values=flag(request, "values"),
            deleted=flag(request, "deleted"),
        )

    def op_tally(self, request: Fields, now: Instant) -> Tally:
        return Tally(
            self._slots(text(request, "model", DEFAULT_MODEL)),
            text(request, "pattern", ""),
            depth=number(request, "depth", 0, DEPTH_MAX),
            deleted=flag(request, "deleted"),
        )

    def op_watch(self, request: Fields, now: Instant) -> Watch:
        patterns = request.get("patterns", [])
        if not isinstance(patterns, list) or not all(isinstance(p, str) for p in patterns):
            raise UsageError("watch wants patterns: [text, ...]")
        after, clock = split_cursor(text(request, "after", ""))
        if "clock" in request:
            clock = check_clocks(request["clock"])
        alone = len(self.daemon.peers(now)) <= 1  # there is but this node itself
        patience_s = ALONE_PATIENCE_S if alone else PATIENCE_S
        return Watch(
            self.node,
            text(request, "model", ""),
            patterns,
            snapshot=flag(request, "snapshot"),
            after=after,
            clock=clock,
            durable=flag(request, "durable"),
            patient_until_s=now.mono_s + patience_s,
        )

    def op_call(self, request: Fields, now: Instant) -> Answer | Waiting:
        args = request.get("args", [])
        if not isinstance(args, list):
            raise UsageError("call wants args: [...]")
        self._check_wait(request, now)
        name = text(request, "model", DEFAULT_MODEL)
        model = self.node.model(name)
        before = model.log.end
        if name.startswith("_"):
            raise Refused(f"model '{name}' is the system's: it can be read, not called")
        operation = text(request, "operation")
        if any(op.name == operation and op.writes for op in operations(type(model))):
            self.node.durability.check_writable()
        try:
            result = exact(call(model, operation, args))
        finally:  # what it wrote before it failed is there
            if model.log.end != before:
                self.node.accepted(model)
        try:
            protocol.encode({"result": result})
        except (ValueError, TypeError, OverflowError) as error:
            raise DataError(f"the result can't be told: {error}") from None
        if model.log.end == before:
            return Answer({"result": result})
        return self._written(model, {"result": result}, request, now)

    # --- events ---

    def op_emit(self, request: Fields, now: Instant) -> Answer | Waiting:
        name = text(request, "name")
        check_name(name)
        self._check_wait(request, now)
        kind, payload = check_value(request.get("kind"), request.get("value"))
        self.node.durability.check_writable()
        model = self._events(request)
        entry = model.put(name, kind, payload)
        self.node.accepted(model)
        return self._written(model, {"entry": entry}, request, now)

    def op_on(self, request: Fields, now: Instant) -> EventStream:
        names = request.get("names", [])
        if not isinstance(names, list) or len(names) > PATTERNS_MAX:
            raise UsageError(f"on wants names: [text, ...], at most {PATTERNS_MAX}")
        for name in names:
            check_name(name)
        after = None if request.get("after") is None else text(request, "after")
        live = flag(request, "cursor_first")
        return EventStream(self.node, self._events(request), names, after=after, live=live)

    def _events(self, request: Fields) -> Events:
        name = text(request, "model", EVENTS_MODEL)
        if name.startswith("_"):
            raise Refused(f"model '{name:.80}' is the system's: it has no events")
        self.node.create(name, Events.data_type)
        model = self.node.models[name]
        assert isinstance(model, Events)
        return model

    # --- models ---

    def op_model_list(self, request: Fields, now: Instant) -> Answer:
        return Answer({"models": model_list(self.node)})

    def op_model_create(self, request: Fields, now: Instant) -> Answer:
        name, data_type = text(request, "model"), text(request, "type", Map.data_type)
        if data_type not in MODELS:
            raise UsageError(f"data type '{data_type:.40}', allowed are {', '.join(MODELS)}")
        kind = MODELS[data_type]
        known = kind.settings if issubclass(kind, Slots) else ()
        asked = [option for option in OPTIONS_MS if option in request]
        given = {option: number(request, option, 0, OPTION_MS_MAX) for option in asked}
        if unknown := [option for option in asked if option not in known]:
            raise UsageError(f"a {data_type} has no {unknown[0].removesuffix('_ms')}")
        self.node.durability.check_writable()
        created = self.node.create(name, data_type)
        model = self.node.models[name]
        if isinstance(model, Slots):
            other = any(model.option_ms(option) != ms for option, ms in given.items())
            if model.cleared or other:
                created = created or model.cleared
                model.set_options(now.wall_ms, **given)
                self.node.accepted(model)
        return Answer({"created": created}, (model, model.log.end))

    def op_model_info(self, request: Fields, now: Instant) -> Answer:
        model = self.node.model(text(request, "model", DEFAULT_MODEL))
        log = model.log
        return Answer(
            {
                **model_line(model),
                "ttl_ms": model.option_ms("ttl_ms") if isinstance(model, Slots) else 0,
                "keep_ms": model.option_ms("keep_ms") if isinstance(model, Slots) else 0,
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
        name = text(request, "model")
        known = self.node.model(name)
        if name == DEFAULT_MODEL:
            raise Refused("model 'default' is always there", hint="scuttled del --prefix ''")
        if isinstance(known, Slots) and known.cleared:
            raise Refused(f"no model '{name}'")
        model = self.node.model_to_write(name, known.data_type)
        if not isinstance(model, Slots):
            raise Refused(f"model '{name}' is a {model.data_type}, which can't be dropped")
        count = model.drop(now.wall_ms)
        self.node.accepted(model)
        return Answer({"count": count}, (model, model.log.end))

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
