"""Bridge at one address: the models meant, and what each npm peer has sent."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from scuttled.errors import ConfigError, DataError, Refused, UsageError
from scuttled.node.node import Node
from scuttled.npm.hazards import INHERITED, Unsayable, check_part_name
from scuttled.npm.translation import DIALECTS, dialect, id_bytes
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.signatures import bridged_source
from scuttled.replica.slots import Slots
from scuttled.replica.update import Source, life_of, source_text

BUCKET = "bucket"
PEERS_MAX = 1000  # whose clocks are remembered
PARTS_MAX = 64  # of a bucket, named at the start


class Later(Unsayable):
    """It can't be taken yet; the peer is to send it again another time."""


class BridgeTarget(NamedTuple):
    """Target of a bridge: what stands behind `ADDR=`."""

    kind: str  # of DIALECTS, BUCKET, or "": as the model is, else a map
    name: str  # of a model; of a bucket, the prefix of its parts' models
    parts: dict[str, str] | None  # of a bucket, the types of its parts by name, if they were named

    @classmethod
    def read(cls, text: str) -> "BridgeTarget":
        """`NAME`, `TYPE:NAME`, `bucket:PREFIX` or `bucket:PREFIX{PART=TYPE,...}`.

        Raises ConfigError.
        """
        kind, _, name = text.rpartition(":")
        if kind not in ("", BUCKET, *DIALECTS):
            known = ", ".join([BUCKET, *DIALECTS])
            raise ConfigError(f"{text!r}: {kind!r} is not one of {known}")
        if kind != BUCKET:
            return cls(kind, name, None)
        prefix, brace, rest = name.partition("{")
        if not brace:
            return cls(kind, prefix, None)
        if not rest.endswith("}"):
            raise ConfigError(f"{text!r}: the brace is not closed: write {{PART=TYPE,...}}")
        pairs = [pair.partition("=") for pair in rest.removesuffix("}").split(",") if pair]
        parts = {part.strip(): data_type.strip() for part, _, data_type in pairs}
        if not 1 <= len(parts) <= PARTS_MAX or len(parts) < len(pairs):
            raise ConfigError(f"{text!r}: expected 1 to {PARTS_MAX} parts, each once")
        for part, data_type in parts.items():
            if not part or data_type not in DIALECTS:
                known = ", ".join(DIALECTS)
                raise ConfigError(f"{text!r}: part {part!r} is a {data_type!r}, allowed: {known}")
            try:
                check_part_name(part)
            except Unsayable as why:
                raise ConfigError(f"{text!r}: {why}") from None
        return cls(kind, prefix, parts)


@dataclass(frozen=True, slots=True)
class GuestMemory:
    """Memory of one peer: what this node told it, up to the end of its last conversation."""

    given: dict[str, dict[Source, int]]  # by part: of our sources, up to when
    sent: dict[str, int]  # by npm id, or alias: the last one
    others: frozenset[str]  # ids that it has from elsewhere, too

    def has_arrived(self, clock: Mapping[str, int]) -> bool:
        """True if a peer of that clock has all of it: nothing was lost, nothing forgotten."""
        return all(clock.get(npm, 0) >= time for npm, time in self.sent.items())

    def from_us_alone(self, clock: Mapping[str, int]) -> set[str]:
        """The ids of which a peer of that clock has what we told it, and nothing else."""
        sent = self.sent.items()
        return {npm for npm, time in sent if clock.get(npm) == time and npm not in self.others}


NOTHING_TOLD = GuestMemory({}, {}, frozenset())


class Bridge:
    """One `ADDR=MODEL` of a node.

    A change of an npm peer becomes an update of a source that only this node writes under, one for
    each npm id. So our clocks stay truthful, though npm has no commit: for these sources this node
    is the one that knows. The id, and a signature, stay with the change and go out again.
    """

    def __init__(self, node: Node, target: str) -> None:
        self.node = node
        self.target = target
        self.kind, self.name, self.declared = BridgeTarget.read(target)
        self.bucket = self.name if self.kind == BUCKET else None
        self._heard: OrderedDict[str, tuple[dict[str, int], tuple[object, ...]]] = OrderedDict()
        self._told: OrderedDict[str, tuple[GuestMemory, tuple[object, ...]]] = OrderedDict()
        self._used: dict[str, int] = {}  # by part: revision of its clock when it was looked at
        if self.bucket is None:
            existing = node.models.get(self.name)
            self._open(
                self.name, self.kind or (existing.data_type if existing is not None else "map")
            )
        for part, data_type in (self.declared or {}).items():
            self._open(f"{self.bucket}{part}", data_type)

    def _open(self, name: str, data_type: str) -> Slots:
        """Raises ScuttledError if there can't be such a model, or npm has no like of it."""
        if name.startswith("_"):
            raise Refused(f"model '{name:.80}' is the system's")
        self.node.create(name, data_type)
        model = self.node.models[name]
        assert isinstance(model, Slots)
        dialect(model)
        if model.log.live:
            self.keep_deleted(model)
        return model

    def keep_deleted(self, model: Slots) -> None:
        """Have all nodes never forget its deletions: an npm peer counts as no member.

        One that was away may bring back what was deleted. Not while the model is empty here: its
        options may be on the way from another node, and would be replaced as a whole.
        """
        if model.has_room and not model.options.get("keep_deleted"):
            model.set_options(model.now_ms(), keep_deleted=True)
            self.node.accepted(model)

    def parts(self) -> Iterator[tuple[str, Slots]]:
        """The models to be told, by the names of a scuttlebucket's parts.

        "" is a model that stands alone. A bucket dies of a part that it has not: so these are the
        parts that were named at the start or, where none were, those that an npm peer has used.
        """
        if self.bucket is None:
            model = self.node.models[self.name]
            assert isinstance(model, Slots)
            yield "", model
            return
        for part, model in self._candidates():
            if self.declared is not None or self._is_used(part, model):
                yield part, model

    def untold(self) -> list[str]:
        """The parts that are here and are not told, since no npm peer is known to have them."""
        if self.bucket is None or self.declared is not None:
            return []
        return [part for part, model in self._candidates() if not self._is_used(part, model)]

    def _candidates(self) -> Iterator[tuple[str, Slots]]:
        assert self.bucket is not None
        for name, held in tuple(self.node.models.items()):
            part = name.removeprefix(self.bucket)
            if not name.startswith(self.bucket) or not isinstance(held, Slots):
                continue
            if held.data_type not in DIALECTS or held.is_system or part in INHERITED or not part:
                continue
            if self.declared is None or part in self.declared:
                yield part, held

    def _is_used(self, part: str, model: Slots) -> bool:
        """True if an npm peer has written to it, here or at another node."""
        looked = self._used.get(part)
        if looked is not None and looked in (-1, model.clock.revision):
            return looked == -1
        used = any(not life_of(source) for source, _ in model.clock.items())
        self._used[part] = -1 if used else model.clock.revision
        return used

    def part(self, name: str) -> Slots:
        """The model of a part. Raises Unsayable; Later, if nobody has said yet what type it is.

        A change does not tell: ["a", 1] may be a key and its value, an event, or a row.
        """
        check_part_name(name)
        if self.declared is not None and name not in self.declared:
            raise Unsayable(f"the part {name!r:.80}, which {self.target} does not name")
        model = self.node.models.get(f"{self.bucket}{name}")
        if model is None:
            named = f"{self.target}{{{name:.80}=TYPE}}"
            created = f"scuttled model create {self.bucket}{name:.80} --type TYPE"
            raise Later(
                f"the part {name!r:.80} has no type: serve --npm ADDR={named}, or {created}"
            )
        try:
            return self._open(model.name, model.data_type)
        except (DataError, Refused, UsageError) as error:
            raise Unsayable(error.message) from None

    def has_part(self, name: str) -> bool:
        """True if it has a type by now."""
        return f"{self.bucket}{name}" in self.node.models

    # --- sources ---

    def source(self, npm_id: str) -> Source:
        """Under what this node writes for an npm id; another one in another life of it (I5)."""
        return bridged_source(self.node.author.source, id_bytes(npm_id))

    def own_clock(self, model: Scuttlebutt) -> dict[str, int]:
        """Clock of our own sources, as far as this node has all of it."""
        return {source_text(s): time for s, time in model.clock.items() if life_of(s)}

    # --- what peers have sent ---

    def remember(self, peer: str, heard: dict[str, int]) -> None:
        """That peer has sent all it has up to these times: next time it need not."""
        self._heard[peer] = (dict(heard), self._logs())
        self._heard.move_to_end(peer)
        while len(self._heard) > PEERS_MAX:
            self._heard.popitem(last=False)

    def heard_from(self, peer: str) -> dict[str, int]:
        """As far as we still have it."""
        heard, logs = self._heard.get(peer, ({}, ()))
        return dict(heard) if logs == self._logs() else {}

    def remember_told(self, peer: str, told: GuestMemory) -> None:
        """That peer was told all this, for its next conversation."""
        self._told[peer] = (told, self._logs())
        self._told.move_to_end(peer)
        while len(self._told) > PEERS_MAX:
            self._told.popitem(last=False)

    def told_to(self, peer: str) -> GuestMemory:
        """As far as it is still known, and good."""
        told, logs = self._told.get(peer, (NOTHING_TOLD, ()))
        return told if logs == self._logs() else NOTHING_TOLD

    def _logs(self) -> tuple[object, ...]:
        """Others, once a model was replaced by a RESET."""
        return tuple(model.log for _, model in self.parts())
