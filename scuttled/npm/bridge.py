"""What all conversations at one address share: the models meant, and what each peer has sent."""

from collections import OrderedDict
from collections.abc import Iterator

from scuttled.core.changes import Slot
from scuttled.core.scuttlebutt import Scuttlebutt
from scuttled.core.security import bridged_source
from scuttled.core.slots import Slots
from scuttled.core.update import Source, life_of, source_text
from scuttled.errors import ConfigError, DataError, Refused
from scuttled.node import Node
from scuttled.npm.dialects import DIALECTS, Origin, Unsayable, dialect, id_bytes

BUCKET = "bucket"
PEERS_MAX = 1000  # whose clocks are remembered


class Bridge:
    """One `ADDR=MODEL` of a node.

    A change of an npm peer becomes an update of a source that only this node writes under, one for
    each npm id. So our clocks stay truthful, though npm has no commit: for these sources this node
    is the one that knows. The id, and a signature, stay with the change and go out again.
    """

    def __init__(self, node: Node, target: str) -> None:
        kind, _, name = target.rpartition(":")
        self.node = node
        self.target = target
        self.bucket = name if kind == BUCKET else None
        self._heard: OrderedDict[str, tuple[dict[str, int], tuple[object, ...]]] = OrderedDict()
        if kind not in ("", BUCKET, *DIALECTS):
            known = ", ".join([BUCKET, *DIALECTS])
            raise ConfigError(f"{target!r}: {kind!r} is not one of {known}")
        if self.bucket is None:
            existing = node.models.get(name)
            self._open(name, kind or (existing.data_type if existing else "map"))

    def _open(self, name: str, data_type: str) -> Slots:
        """Raises ScuttledError if there can't be such a model, or npm has no like of it."""
        if name.startswith("_"):
            raise Refused(f"model '{name:.80}' is the system's")
        self.node.create(name, data_type)
        model = self.node.models[name]
        assert isinstance(model, Slots)
        dialect(model)
        if not model.options.get("keep_deleted") and model.has_room:
            # An npm peer that was away counts as no member, and may bring back what was deleted.
            model.set_options(model.now_ms(), keep_deleted=True)
            self.node.accepted(model)
        return model

    def parts(self) -> Iterator[tuple[str, Slots]]:
        """The models, by the names of a scuttlebucket's parts; "" is a model that stands alone."""
        if self.bucket is None:
            name = self.target.rpartition(":")[2]
            model = self.node.models[name]
            assert isinstance(model, Slots)
            yield "", model
            return
        for name, held in tuple(self.node.models.items()):
            if name.startswith(self.bucket) and isinstance(held, Slots):
                if held.data_type in DIALECTS and not held.is_system:
                    yield name.removeprefix(self.bucket), held

    def part(self, name: str) -> Slots:
        """The model of a part; made, as a map, if there is none. Raises Unsayable."""
        try:
            model = self.node.models.get(f"{self.bucket}{name}")
            kind = model.data_type if model is not None else "map"
            return self._open(f"{self.bucket}{name}", kind)
        except (DataError, Refused) as error:
            raise Unsayable(error.message) from None

    # --- sources ---

    def source(self, npm_id: str) -> Source:
        """Under what this node writes for an npm id; another one in another life of it (I5)."""
        return bridged_source(self.node.author.source, id_bytes(npm_id))

    def own_clock(self, model: Scuttlebutt) -> dict[str, int]:
        """What our own sources have written, as far as this node has all of it."""
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

    def _logs(self) -> tuple[object, ...]:
        """Others, once a model was replaced by a RESET."""
        return tuple(model.log for _, model in self.parts())


def namesake(npm_id: str) -> Source:
    """A source to name the entries of an npm id by; the same on all nodes that hear of it."""
    return bridged_source(Source(b""), id_bytes(npm_id))


def npm_id(slot: Slot) -> str:
    """Who made it, as npm is told."""
    bridged = slot.origin and not life_of(slot.source)
    return (Origin.of(slot).id if bridged else "") or source_text(slot.source)
