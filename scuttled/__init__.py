"""scuttled: every machine of a fleet holds the same small, living state.

For a program of one's own: `from scuttled import Map, replicate` (docs/library.md). What stands
here is imported when it is asked for, since the command line must start fast.
"""

from typing import TYPE_CHECKING, Any

from scuttled.version import __version__ as __version__

if TYPE_CHECKING:
    from scuttled.core.clock import Clock as Clock
    from scuttled.core.hlc import Author as Author
    from scuttled.core.observers import GONE as GONE
    from scuttled.core.observers import UpdateEvent as UpdateEvent
    from scuttled.core.scuttlebutt import Scuttlebutt as Scuttlebutt
    from scuttled.core.security import Doubt as Doubt
    from scuttled.core.security import Seal as Seal
    from scuttled.core.slots import Slots as Slots
    from scuttled.core.update import Update as Update
    from scuttled.errors import DataError as DataError
    from scuttled.errors import Refused as Refused
    from scuttled.errors import RemoteProtocolError as RemoteProtocolError
    from scuttled.errors import ScuttledError as ScuttledError
    from scuttled.errors import UsageError as UsageError
    from scuttled.keeping import StateDirectory as StateDirectory
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

_ROOMS = {
    "GONE": "core.observers",
    "Author": "core.hlc",
    "Clock": "core.clock",
    "Counter": "models.counter",
    "DataError": "errors",
    "Doc": "models.doc",
    "Doubt": "core.security",
    "Events": "models.events",
    "Header": "replication",
    "Log": "models.log",
    "Map": "models.map",
    "Refused": "errors",
    "RemoteProtocolError": "errors",
    "Replicated": "replication",
    "Scuttlebutt": "core.scuttlebutt",
    "ScuttledError": "errors",
    "Seal": "core.security",
    "Sequence": "models.sequence",
    "Set": "models.set",
    "Slots": "core.slots",
    "StateDirectory": "keeping",
    "UncheckedFile": "library",
    "Update": "core.update",
    "UpdateEvent": "core.observers",
    "UsageError": "errors",
    "Value": "models.value",
    "load": "library",
    "new_author": "library",
    "operation": "models.operations",
    "reading": "models.operations",
    "replicate": "replication",
    "save": "library",
    "signing_author": "library",
}

__all__ = [*_ROOMS]


def __dir__() -> list[str]:
    return sorted([*_ROOMS, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'scuttled' has no attribute {name!r}")
    from importlib import import_module

    import_module("scuttled.library")  # gives models outside of a daemon an author
    return getattr(import_module(f"scuttled.{_ROOMS[name]}"), name)
