"""Names of npm peers: the ids they write under, and the aliases that late updates go out under.

npm drops for ever what does not ascend within an id. So what comes late goes out under its id with
a `~` behind it, or as many as it takes.
"""

from scuttled.npm.translation import Origin, id_bytes
from scuttled.replica.change import Slot
from scuttled.replica.signatures import bridged_source
from scuttled.replica.update import Source, life_of, source_text

ALIAS = "~"
ALIASES_MAX = 16  # of one id: as many as nodes of ours hear of it at one time


def base_id(npm: str) -> str:
    """Whose update it is, whatever name it comes under."""
    return npm.rstrip(ALIAS) or npm


def namesake(npm: str) -> Source:
    """A source to name the entries of an npm id by; the same on all nodes that hear of it."""
    return bridged_source(Source(b""), id_bytes(base_id(npm)))


def npm_id(slot: Slot) -> str:
    """Id of who made it, as npm is told."""
    bridged = slot.origin and not life_of(slot.source)
    return (Origin.of(slot).id if bridged else "") or source_text(slot.source)
