"""Flows in PING and PONG as plain values: rates, straits, peers (docs/protocol.md).

    {data type: [wanted, allowed or nil, [[node id, its time in ms, updates a second], ...], peers]}

Left out where there is nothing to tell: a node of before this knows messages without it.
"""

from math import inf
from typing import Any

from scuttled.errors import RemoteProtocolError
from scuttled.printable import has_control
from scuttled.protocol.messages import FlowReport, Strait
from scuttled.protocol.rate_law import Rates
from scuttled.replica.update import NODE_ID_BYTES, TIMESTAMP_MAX, NodeId

TYPES_MAX = 32  # data types in one message
TYPE_CHARS_MAX = 255
STRAITS_MAX = 16  # of one data type
PEERS_MAX = 1 << 16
RATE_MAX = 1e12  # updates a second; beyond any machine


def flow_fields(flows: dict[str, FlowReport]) -> list[dict[str, Any]]:
    """The last field of the message; none if nothing is report."""
    return [{name: _report_fields(report) for name, report in flows.items()}] if flows else []


def _report_fields(report: FlowReport) -> list[object]:
    rates = report.rates
    straits = [[strait.node_id, strait.at_ms, strait.per_s] for strait in report.straits]
    allowed = rates.allowed if rates.allowed < inf else None
    return [rates.wanted, allowed, straits, report.peers]


def read_flows(value: object) -> dict[str, FlowReport]:
    """Raises RemoteProtocolError."""
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > TYPES_MAX:
        raise RemoteProtocolError(f"flows {value!r:.60}, expected at most {TYPES_MAX} data types")
    return {_type(name): _report(fields) for name, fields in value.items()}


def _type(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= TYPE_CHARS_MAX or has_control(value):
        raise RemoteProtocolError(f"data type {value!r:.60}, expected text")
    return value


def _report(value: object) -> FlowReport:
    if not isinstance(value, list) or len(value) != 4 or not isinstance(value[2], list):
        raise RemoteProtocolError(f"a flow {value!r:.60}, expected wanted, allowed, straits, peers")
    wanted, allowed, straits, peers = value
    if type(peers) is not int or not 1 <= peers <= PEERS_MAX:
        raise RemoteProtocolError(f"peers {peers!r:.60}, expected 1 to {PEERS_MAX}")
    if len(straits) > STRAITS_MAX:
        raise RemoteProtocolError(f"{len(straits)} straits, at most {STRAITS_MAX}")
    rates = Rates(_rate(wanted, 0.0), inf if allowed is None else _rate(allowed, -RATE_MAX))
    return FlowReport(rates, tuple(map(_strait, straits)), peers)


def _rate(value: object, least: float) -> float:
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not least <= value <= RATE_MAX  # a NaN is neither
    ):
        raise RemoteProtocolError(f"rate {value!r:.60}, expected {least:g} to {RATE_MAX:g}")
    return float(value)


def _strait(value: object) -> Strait:
    if not isinstance(value, list) or len(value) != 3:
        raise RemoteProtocolError(f"a strait {value!r:.60}, expected node, time and rate")
    node_id, at_ms, per_s = value
    if not isinstance(node_id, bytes) or len(node_id) != NODE_ID_BYTES:
        raise RemoteProtocolError(f"node id {node_id!r:.60}, expected {NODE_ID_BYTES} bytes")
    if type(at_ms) is not int or not 0 <= at_ms <= TIMESTAMP_MAX:
        raise RemoteProtocolError(f"time {at_ms!r:.60}, expected a whole number from 0")
    return Strait(NodeId(node_id), at_ms, _rate(per_s, 0.0))
