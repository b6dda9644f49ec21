"""scuttled: every machine of a fleet holds the same small, living state.

For a program of one's own: `from scuttled import Map, replicate` (docs/library.md). What stands
here is imported when it is asked for, since the command line must start fast.
"""

from typing import TYPE_CHECKING, Any

from scuttled.version import __version__ as __version__

if TYPE_CHECKING:
    from scuttled.errors import DataError as DataError
    from scuttled.errors import Refused as Refused
    from scuttled.errors import RemoteProtocolError as RemoteProtocolError
    from scuttled.errors import ScuttledError as ScuttledError
    from scuttled.errors import UsageError as UsageError
    from scuttled.library.authors import signing_author as signing_author
    from scuttled.library.model_file import UncheckedFile as UncheckedFile
    from scuttled.library.model_file import load as load
    from scuttled.library.model_file import save as save
    from scuttled.library.persistence import StateDirectory as StateDirectory
    from scuttled.library.replicate import Header as Header
    from scuttled.library.replicate import Replicated as Replicated
    from scuttled.library.replicate import replicate as replicate
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
    from scuttled.replica.default_author import new_author as new_author
    from scuttled.replica.hlc import Author as Author
    from scuttled.replica.observers import GONE as GONE
    from scuttled.replica.observers import UpdateEvent as UpdateEvent
    from scuttled.replica.scuttlebutt import Scuttlebutt as Scuttlebutt
    from scuttled.replica.signatures import Signer as Signer
    from scuttled.replica.signatures import Verifier as Verifier
    from scuttled.replica.slots import Slots as Slots
    from scuttled.replica.update import Update as Update
    from scuttled.replica.version_vector import Clock as Clock

_ROOMS = {
    "GONE": "replica.observers",
    "Author": "replica.hlc",
    "Clock": "replica.version_vector",
    "Counter": "models.counter",
    "DataError": "errors",
    "Doc": "models.doc",
    "Events": "models.events",
    "Header": "library.replicate",
    "Log": "models.log",
    "Map": "models.map",
    "Refused": "errors",
    "RemoteProtocolError": "errors",
    "Replicated": "library.replicate",
    "Scuttlebutt": "replica.scuttlebutt",
    "ScuttledError": "errors",
    "Sequence": "models.sequence",
    "Set": "models.set",
    "Signer": "replica.signatures",
    "Slots": "replica.slots",
    "StateDirectory": "library.persistence",
    "UncheckedFile": "library.model_file",
    "Update": "replica.update",
    "UpdateEvent": "replica.observers",
    "UsageError": "errors",
    "Value": "models.value",
    "Verifier": "replica.signatures",
    "load": "library.model_file",
    "new_author": "replica.default_author",
    "operation": "models.operations",
    "reading": "models.operations",
    "replicate": "library.replicate",
    "save": "library.model_file",
    "signing_author": "library.authors",
}

_FORMER = {"Seal": "Signer", "Doubt": "Verifier"}  # names of 0.1 that programs may still say

__all__ = [*_ROOMS]


def __dir__() -> list[str]:
    return sorted([*_ROOMS, "__version__"])


def __getattr__(name: str) -> Any:
    name = _FORMER.get(name, name)
    if name not in _ROOMS:
        raise AttributeError(f"module 'scuttled' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"scuttled.{_ROOMS[name]}"), name)
