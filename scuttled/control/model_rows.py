"""Models as `model_list` and `status` show them: their types, and how much they hold."""

from typing import Any

from scuttled.node.node import Node
from scuttled.replica.scuttlebutt import Scuttlebutt
from scuttled.replica.slots import Slots


def model_row(model: Scuttlebutt) -> dict[str, Any]:
    held = model if isinstance(model, Slots) else None
    return {
        "name": model.name,
        "type": model.data_type,
        "keys": held.count if held is not None else model.log.live,
        "tombstones": held.tombstones if held is not None else 0,
        "bytes": held.bytes if held is not None else 0,
    }


def model_rows(node: Node) -> list[dict[str, Any]]:
    """The users' models, but for dropped ones."""
    models = (m for m in node.user_models() if not (isinstance(m, Slots) and m.cleared))
    return [model_row(model) for model in sorted(models, key=lambda model: model.name)]
