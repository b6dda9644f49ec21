"""scuttled: every machine of a fleet holds the same small, living state.

For a program of one's own: `from scuttled import Map, replicate` (docs/library.md). What stands
here is imported when it is asked for, since the command line must start fast.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scuttled.core.clock import Clock as Clock
    from scuttled.core.hlc import Author as Author
    from scuttled.core.scuttlebutt import Scuttlebutt as Scuttlebutt
    from scuttled.core.security import Doubt as Doubt
    from scuttled.core.security import Seal as Seal
    from scuttled.core.slots import Slots as Slots
    from scuttled.core.update import Update as Update
    from scuttled.library import UncheckedFile as UncheckedFile
    from scuttled.library import load as load
    from scuttled.library import new_author as new_author
    from scuttled.library import save as save
    from scuttled.library import signing_author as signing_author
    from scuttled.models.counter import Counter as Counter
    from scuttled.models.doc import Doc as Doc
    from scuttled.models.events import Events as Events
    from scuttled.models.log import Log as Log
    from scuttled.models.map import Map as Map
    from scuttled.models.operations import operation as operation
    from scuttled.models.operations import reading as reading
    from scuttled.models.sequence import Sequence as Sequence
    from scuttled.models.set import Set as Set
    from scuttled.models.value import Value as Value
    from scuttled.replication import Header as Header
    from scuttled.replication import Replicated as Replicated
    from scuttled.replication import replicate as replicate

__version__ = "0.1.0"

_ROOMS = {
    "Author": "core.hlc",
    "Clock": "core.clock",
    "Events": "models.events",
    "Counter": "models.counter",
    "Set": "models.set",
    "UncheckedFile": "library",
    "Value": "models.value",
    "Doc": "models.doc",
    "Doubt": "core.security",
    "Sequence": "models.sequence",
    "Header": "replication",
    "Log": "models.log",
    "Map": "models.map",
    "Replicated": "replication",
    "Scuttlebutt": "core.scuttlebutt",
    "Seal": "core.security",
    "Slots": "core.slots",
    "Update": "core.update",
    "load": "library",
    "new_author": "library",
    "operation": "models.operations",
    "reading": "models.operations",
    "replicate": "replication",
    "save": "library",
    "signing_author": "library",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'scuttled' has no attribute {name!r}")
    from importlib import import_module

    import_module("scuttled.library")  # gives models outside of a daemon an author
    return getattr(import_module(f"scuttled.{_ROOMS[name]}"), name)
