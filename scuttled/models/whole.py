"""All of a model as one value: what `get` without a key writes, and an export has of it."""

import json

from scuttled.models.payload import exact
from scuttled.replica.scuttlebutt import Scuttlebutt


def whole(model: Scuttlebutt) -> tuple[str, bytes]:
    """Its kind (text, bytes, json) and its bytes; in JSON each value can be told from others."""
    if type(model).whole is not Scuttlebutt.whole:  # a type that says it in its own way
        return model.whole()
    # JSON's own escape for half of a surrogate pair, which UTF-8 can't hold.
    text = json.dumps(exact(model.to_json()), ensure_ascii=False)
    return "json", text.encode(errors="backslashreplace")
