"""The data types. To add one: a file here, and its line in MODELS."""

import re

from scuttled.core.hlc import Author
from scuttled.core.scuttlebutt import Scuttlebutt
from scuttled.errors import DataError
from scuttled.models.counter import Counter
from scuttled.models.doc import Doc
from scuttled.models.events import Events
from scuttled.models.log import Log
from scuttled.models.map import Map
from scuttled.models.sequence import Sequence
from scuttled.models.set import Set
from scuttled.models.value import Value

MODELS: dict[str, type[Scuttlebutt]] = {
    kind.data_type: kind for kind in (Map, Value, Log, Events, Set, Counter, Doc, Sequence)
}

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")


def make_model(name: str, data_type: str, author: Author) -> Scuttlebutt:
    """An empty model. Raises DataError at a name or type that can't be."""
    if not _NAME.fullmatch(name):
        raise DataError(f"model name '{name:.80}', allowed are 1 to 64 of letters, digits, . _ -")
    if data_type not in MODELS:
        raise DataError(f"data type '{data_type:.40}', allowed are {', '.join(MODELS)}")
    return MODELS[data_type](name, author)
