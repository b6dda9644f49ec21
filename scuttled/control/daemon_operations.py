"""Operations on the daemon and on the connection itself."""

import os
from typing import NamedTuple

from scuttled.client import protocol
from scuttled.control.context import Context
from scuttled.control.control_operation import NOTHING, NoFields, control_operation
from scuttled.control.fields import Fields, text
from scuttled.control.model_rows import model_rows
from scuttled.control.results import Answer, Cancellation
from scuttled.errors import NoCommonProtocol, UsageError
from scuttled.replica.update import Instant
from scuttled.version import __version__


class HelloRequest(NamedTuple):
    protocol: tuple[int, int]  # oldest and newest version that the client speaks
    client: str

    @classmethod
    def read(cls, fields: Fields) -> "HelloRequest":
        asked = fields.get("protocol")
        client = text(fields, "client", "")
        if not isinstance(asked, list) or [type(n) for n in asked] != [int, int]:
            raise UsageError(f"hello with protocol {asked!r:.60}, expected [oldest, newest]")
        return cls((asked[0], asked[1]), client)


@control_operation(HelloRequest, writes=NOTHING)
def hello(context: Context, request: HelloRequest, now: Instant) -> Answer:
    node = context.node
    oldest, newest = protocol.VERSIONS
    client_oldest, client_newest = request.protocol
    common = min(newest, client_newest)
    if common < max(oldest, client_oldest):
        raise NoCommonProtocol(
            f"the client speaks control protocol {client_oldest} to {client_newest}, "
            f"the daemon {oldest} to {newest}",
            hint="client and daemon are of different versions: scuttled version",
        )
    return Answer(
        {
            "protocol": common,
            "node": node.author.node_id.hex(),
            "name": node.settings.name,
            "version": __version__,
            "incarnation": node.settings.incarnation.hex(),
            "cluster": node.settings.cluster,
            "namesakes": sorted(node.members.namesakes(now.wall_ms)),
        }
    )


@control_operation(NoFields, writes=NOTHING)
def status(context: Context, request: NoFields, now: Instant) -> Answer:
    models = model_rows(context.node)
    sums = {what: sum(m[what] for m in models) for what in ("keys", "tombstones", "bytes")}
    return Answer({**context.daemon.facts(now), "models": models, **sums, "pid": os.getpid()})


@control_operation(NoFields, writes=NOTHING)
def config(context: Context, request: NoFields, now: Instant) -> Answer:
    names = ("key", "value", "origin")
    settings = [dict(zip(names, row, strict=True)) for row in context.daemon.settings()]
    return Answer({"settings": settings})


@control_operation(NoFields, writes=NOTHING)
def leave(context: Context, request: NoFields, now: Instant) -> Answer:
    return Answer({"peers": context.daemon.leave()})


class CancelRequest(NamedTuple):
    stream: object

    @classmethod
    def read(cls, fields: Fields) -> "CancelRequest":
        return cls(fields.get("stream"))


@control_operation(CancelRequest, writes=NOTHING)
def cancel(context: Context, request: CancelRequest, now: Instant) -> Cancellation:
    return Cancellation(request.stream)
