"""What an npm peer says to a node, line by line, and what it hears."""

import json
from typing import Any

from scuttled.node.node import Node
from scuttled.npm.session import Talk
from scuttled.replica.update import Instant
from support.scenes import NOW, sync


def header(npm: str = "Q", **clock: float) -> dict[str, Any]:
    return {"id": npm, "clock": clock}


def say(talk: Talk, *messages: Any, now: Instant = NOW) -> None:
    talk.feed(b"".join(json.dumps(message).encode() + b"\n" for message in messages), now)


def said(talk: Talk, now: Instant = NOW) -> list[Any]:
    lines = b""
    while talk.wants_to_send(now):
        lines += talk.draw(now)
    return [json.loads(line) for line in lines.splitlines()]


def updates(talk: Talk) -> list[Any]:
    return [message for message in said(talk) if isinstance(message, list)]


def meet(one: Node, two: Node, model: str = "default") -> None:
    """Both have all that either had."""
    sync(one.models[model], two.models[model])
    for node in (one, two):
        node.accepted(node.models[model])
