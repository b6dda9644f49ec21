"""The data types. To add one: a file here, and its line in MODELS."""

import re
from importlib import import_module

from scuttled.errors import ConfigError, DataError
from scuttled.models.counter import Counter
from scuttled.models.doc import Doc
from scuttled.models.events import Events
from scuttled.models.log import Log
from scuttled.models.map import Map
from scuttled.models.sequence import Sequence
from scuttled.models.set import Set
from scuttled.models.value import Value
from scuttled.replica.hlc import Author
from scuttled.replica.scuttlebutt import Scuttlebutt

MODELS: dict[str, type[Scuttlebutt]] = {
    kind.data_type: kind for kind in (Map, Value, Log, Events, Set, Counter, Doc, Sequence)
}

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


def add_type(text: str) -> type[Scuttlebutt]:
    """Take in a type of somebody else's, named `package.module:Class`. Raises ConfigError."""
    module, _, name = text.partition(":")
    try:
        found = getattr(import_module(module), name, None)
    except Exception as error:  # whatever the code of others does when it is imported
        raise ConfigError(f"data type {text}: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Scuttlebutt)):
        raise ConfigError(f"data type {text}: there is no subclass of Scuttlebutt of that name")
    data_type = getattr(found, "data_type", None)
    if not isinstance(data_type, str) or not _NAME.fullmatch(data_type):
        raise ConfigError(f"data type {text}: its data_type is {data_type!r:.60}, expected a name")
    if MODELS.setdefault(data_type, found) is not found:
        raise ConfigError(f"data type {text}: there is a type '{data_type}' already")
    return found


def check_name(name: str) -> None:
    """Raises DataError at what can't be the name of a model."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DataError(f"model name {name!r:.80}, allowed are 1 to 64 of letters, digits, . _ -")


def make_model(name: str, data_type: str, author: Author) -> Scuttlebutt:
    """An empty model. Raises DataError at a name or type that can't be."""
    check_name(name)
    if data_type not in MODELS:
        raise DataError(f"data type '{data_type:.40}', allowed are {', '.join(MODELS)}")
    return MODELS[data_type](name, author)
