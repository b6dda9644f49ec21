"""Signatures: what one covers, who may speak for a source, and what is believed.

    sealed record:  | timestamp | kind, with SIGNED | ... | public key 32 | signature 64 |
    signed:         | "scuttled 1" | length u16 BE | model name | source | record up to the key |

The seal stands in the record, so whoever is handed an update can judge it, also at third hand; and
a node's id is the hash of its key, so there is no list of keys to keep. How to sign is not this
room's business: it is handed in.          [npm signs [change, timestamp, source], not the model]
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from hashlib import blake2b

from scuttled.replica.change import KIND_AT, ORIGIN, SEAL_BYTES, SIGNED, parse
from scuttled.replica.update import (
    NODE_ID_BYTES,
    NodeId,
    Run,
    Source,
    life_of,
    make_source,
    node_of,
)

KEY_BYTES = 32
BRIDGED = b"\0\0\0\0"  # the life of a source under which a node writes for somebody else

Sign = Callable[[bytes], bytes]
Check = Callable[[bytes, bytes, bytes], bool]  # public key, signature, what was signed


def id_of_key(key: bytes) -> NodeId:
    """The id of the node that has it."""
    return NodeId(blake2b(key, digest_size=NODE_ID_BYTES).digest())


def bridged_source(node: Source, outer: bytes) -> Source:
    """Under what a node, in one of its lives, writes for somebody who can't gossip."""
    return Source(blake2b(node + outer, digest_size=NODE_ID_BYTES).digest() + BRIDGED)


def signed_bytes(model: str, source: Source, record: bytes) -> bytes:
    """Bytes that a signature of that record, which has no seal yet, is made over."""
    name = model.encode()
    return b"scuttled 1" + len(name).to_bytes(2, "big") + name + source + record


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs what this node writes."""

    key: bytes  # public
    sign: Sign

    def __call__(self, model: str, source: Source, record: bytes) -> bytes:
        """The record with its seal."""
        bits = record[KIND_AT] | SIGNED
        record = record[:KIND_AT] + bytes((bits,)) + record[KIND_AT + 1 :]
        return record + self.key + self.sign(signed_bytes(model, source, record))


@dataclass(frozen=True, slots=True)
class Verifier:
    """Says why an update is not to be believed, "" if it is."""

    check: Check
    nodes: Collection[NodeId] = ()  # who is trusted; none: whoever signs

    def __call__(self, model: str, source: Source, record: bytes) -> str:
        if len(record) < KIND_AT + 1 + SEAL_BYTES or not record[KIND_AT] & SIGNED:
            return "not signed"
        seal = record[-SEAL_BYTES:]
        key = seal[:KEY_BYTES]
        node = id_of_key(seal[:KEY_BYTES])
        if not (node == node_of(source) or self._bridges(node, source, record)):
            return "signed with the key of another node"
        if self.nodes and node not in self.nodes:
            return "of a node that is not trusted"
        message = signed_bytes(model, source, record[:-SEAL_BYTES])
        return "" if self.check(key, seal[KEY_BYTES:], message) else "with a bad signature"

    def _bridges(self, node: NodeId, source: Source, record: bytes) -> bool:
        """True if that node writes under the source for another: the origin begins with the life
        it did so in, and what the source was made of."""
        if life_of(source) or not record[KIND_AT] & ORIGIN:
            return False
        origin = parse(record, source).origin
        life = int.from_bytes(origin[:4], "big")
        size = int.from_bytes(origin[4:6], "big")
        return bridged_source(make_source(node, life), origin[6 : 6 + size]) == source


def believed(
    doubt: Callable[[str, Source, bytes], str], model: str, runs: Iterable[Run]
) -> tuple[list[Run], Counter[str], list[Source]]:
    """Runs that are signed as they should be; why the rest is not, and whose it says it is."""
    kept_runs: list[Run] = []
    why_not: Counter[str] = Counter()
    sources: list[Source] = []
    for source, records in runs:
        kept = []
        for record in records:
            if why := doubt(model, source, record):
                why_not[why] += 1
            else:
                kept.append(record)
        if len(kept) < len(records):
            sources.append(source)
        kept_runs.append((source, kept))
    return kept_runs, why_not, sources


def unsealed(record: bytes) -> bytes:
    """A record without its seal, to be written anew by somebody else."""
    if not record[KIND_AT] & SIGNED:
        return record
    bits = record[KIND_AT] & ~SIGNED
    return record[:KIND_AT] + bytes((bits,)) + record[KIND_AT + 1 : -SEAL_BYTES]
