import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.scenes import (
    NOW,
    WALL,
    Line,
    a_node,
    default,
    examples,
    node_id,
    put,
    save,
    values,
    write,
)

from scuttled.client import protocol as rpc
from scuttled.control.backup_operations import ROW_BYTES, UPDATES_BYTES_MAX
from scuttled.control.context import DaemonDoor
from scuttled.control.operations import OPERATIONS, Requests
from scuttled.control.results import Answer, Cancellation, Waiting
from scuttled.control.scan import Scan
from scuttled.control.watch import Watch
from scuttled.errors import (
    DataError,
    NoCommonProtocol,
    Refused,
    ScuttledError,
    TimedOut,
    UsageError,
)
from scuttled.models.map import Map
from scuttled.models.operations import operation
from scuttled.models.payload import VALUE_BYTES_MAX
from scuttled.node.node import Node
from scuttled.replica.change import TEXT
from scuttled.replica.update import Instant
from scuttled.version import __version__

DEEP = b"[" * 100_000


class Caller:
    """A client without a socket: asks a node's requests."""

    def __init__(self, node: Node | None = None, peers: list[dict[str, Any]] | None = None) -> None:
        self.node = node or a_node(1)
        self.asked: list[Any] = []
        daemon = DaemonDoor(
            facts=lambda now: {"uptime_s": now.mono_s},
            peers=lambda now: peers or [],
            join=self._join,
            leave=lambda: 3,
            settings=lambda: [("node.name", "n1", "default")],
            part=lambda addresses: {"parted": addresses, "configured": []},
            decided=lambda addresses: self.decided,
            verdicts=lambda addresses: [{"address": a, "state": "up"} for a in addresses],
        )
        self.decided = False
        self.requests = Requests(self.node, daemon)

    def _join(self, addresses: list[str], save: bool) -> dict[str, Any]:
        self.asked.append((addresses, save))
        return {"added": addresses, "known": []}

    def ask(self, op: str, now: Instant = NOW, **fields: Any) -> Any:
        return self.requests.carry_out({"op": op, **fields}, now)

    def ok(self, op: str, now: Instant = NOW, **fields: Any) -> dict[str, Any]:
        answer = self.ask(op, now, **fields)
        assert isinstance(answer, Answer)
        assert rpc.encode({"id": 1, "ok": answer.ok})
        return answer.ok


# --- hello ---------------------------------------------------------------------------------------


def test_hello_settles_the_protocol_and_says_who_this_is() -> None:
    assert Caller().ok("hello", protocol=[1, 7], client="test") == {
        "protocol": 1,
        "node": node_id(1).hex(),
        "name": "n1",
        "version": __version__,
        "incarnation": (b"\x01" * 8).hex(),
        "cluster": "test",
        "namesakes": [],
    }


def test_a_client_of_another_age_is_told_so() -> None:
    with pytest.raises(NoCommonProtocol, match="protocol 2 to 3, the daemon 1 to 1") as caught:
        Caller().ask("hello", protocol=[2, 3])
    assert caught.value.hint


@pytest.mark.parametrize("protocol", [None, 1, [1], ["1", "2"], [1, 2, 3], [True, True]])
def test_a_hello_that_makes_no_sense_is_refused(protocol: object) -> None:
    with pytest.raises(UsageError, match="expected \\[oldest, newest\\]"):
        Caller().ask("hello", protocol=protocol)


@pytest.mark.parametrize("op", [None, "", "unknown", "__class__", "carry_out", 5, ["get"]])
def test_an_unknown_operation_is_refused_and_names_the_version(op: object) -> None:
    with pytest.raises(UsageError, match="unknown operation") as caught:
        Caller().requests.carry_out({"op": op}, NOW)
    assert __version__ in caught.value.hint


# --- keys and values -----------------------------------------------------------------------------


def test_what_was_set_is_got() -> None:
    caller = Caller()
    rev = caller.ok("set", key="k", kind="text", value=b"v")["rev"]
    assert caller.ok("get", key="k") == {
        "kind": "text",
        "value": b"v",
        "rev": rev,
        "name": "n1",
        "expires_ms": 0,
    }


def test_a_write_is_answered_once_it_is_saved() -> None:
    node = a_node(1, stored=True)
    caller = Caller(node)
    answer = caller.ask("set", key="k", kind="text", value=b"v")
    model, end = answer.until
    assert model.log.visible < end
    save(node)
    assert model.log.visible >= end


def test_a_key_that_is_not_there_is_refused() -> None:
    caller = Caller()
    with pytest.raises(Refused, match="no key 'k' in model default"):
        caller.ask("get", key="k")
    with pytest.raises(Refused, match="no model 'x'"):
        caller.ask("get", key="k", model="x")


def test_a_key_with_a_ttl_is_gone_after_it() -> None:
    caller = Caller()
    caller.ok("set", key="k", kind="text", value=b"v", ttl_ms=100)
    assert caller.ok("get", key="k")["expires_ms"] == WALL + 100
    with pytest.raises(Refused):
        caller.ask("get", Instant(1.0, WALL + 100), key="k")


def test_a_write_may_depend_on_what_is_there() -> None:
    caller = Caller()
    first = caller.ok("set", key="k", kind="text", value=b"1", if_absent=True)["rev"]
    with pytest.raises(Refused, match=f"it is there, at rev {first}"):
        caller.ask("set", key="k", kind="text", value=b"2", if_absent=True)
    second = caller.ok("set", key="k", kind="text", value=b"2", if_rev=first)["rev"]
    with pytest.raises(Refused, match=f"it is at rev {second}, not at {first}"):
        caller.ask("set", key="k", kind="text", value=b"3", if_rev=first)
    with pytest.raises(Refused, match=f"it is not there, not at {first}"):
        caller.ask("set", key="x", kind="text", value=b"3", if_rev=first)
    assert values(default(caller.node)) == {"k": "2"}


def test_a_model_comes_with_its_first_write_and_not_with_a_refused_one() -> None:
    caller = Caller()
    caller.ok("set", model="new", key="k", kind="text", value=b"v")
    assert caller.ok("get", model="new", key="k")["value"] == b"v"
    for fields in (
        {"key": ""},
        {"kind": "x"},
        {"value": 5},
        {"ttl_ms": -1},
        {"ttl_ms": 2**64},
        {"if_rev": "1.0101010101010101.1"},
    ):
        with pytest.raises(ScuttledError):
            caller.ask("set", **{"model": "no", "key": "k", "kind": "text", "value": b"", **fields})
    assert "no" not in caller.node.models


def test_the_systems_models_are_read_and_not_written() -> None:
    caller = Caller()
    assert caller.ok("get", model="_members", key=node_id(1).hex())["kind"] == "json"
    for op, fields in (
        ("set", {"key": "k", "kind": "text", "value": b""}),
        ("del", {"keys": ["k"]}),
        ("load", {"kind": "text", "pairs": []}),
        ("call", {"operation": "set", "args": ["k", 1]}),
        ("model_drop", {}),
        ("model_create", {}),
    ):
        if op == "model_create":
            fields = {"model": "_own"}
        with pytest.raises(Refused):
            caller.ask(op, **{"model": "_members", **fields})


def test_many_are_deleted_at_once_and_those_counted_that_were_there() -> None:
    caller = Caller()
    for key in "abc":
        write(caller.node, key)
    assert caller.ok("del", keys=["a", "b", "x"]) == {"count": 2}
    assert values(default(caller.node)) == {"c": "v"}
    with pytest.raises(Refused, match="no model 'x'"):
        caller.ask("del", model="x", keys=[])


def test_many_are_loaded_at_once_all_or_none() -> None:
    caller = Caller()
    assert caller.ok("load", kind="json", pairs=["a", b"1", "b", b"2"]) == {
        "count": 2,
        "left": 0,
        "expired": 0,
    }
    for pairs in (["c", b"1", "", b"2"], ["c", b"1", "d", b"{"], ["c"], "cd", [1, b"1"]):
        with pytest.raises((UsageError, DataError)):
            caller.ask("load", kind="json", pairs=pairs)
    assert set(values(default(caller.node))) == {"a", "b"}


def test_a_dry_load_makes_no_model_and_may_only_where_a_load_may() -> None:
    caller = Caller()
    fields = {"kind": "text", "pairs": ["k", b"v"], "dry_run": True}
    assert caller.ok("load", model="new", **fields) == {"count": 1, "left": 0, "expired": 0}
    assert caller.ok("load", **fields)["count"] == 1
    assert "new" not in caller.node.models
    assert values(default(caller.node)) == {}
    for name in ("_members", "_other"):
        with pytest.raises(Refused):
            caller.ask("load", model=name, **fields)


def test_a_value_too_large_is_refused_with_its_size() -> None:
    with pytest.raises(DataError, match=f"value of {VALUE_BYTES_MAX + 1} bytes"):
        Caller().ask("set", key="k", kind="bytes", value=bytes(VALUE_BYTES_MAX + 1))


def test_streams_are_given_to_whoever_draws_them() -> None:
    caller = Caller()
    write(caller.node, "k")
    listing, watch = caller.ask("list", values=True), caller.ask("watch", snapshot=True)
    assert isinstance(listing, Scan)
    assert isinstance(watch, Watch)
    assert [row[0] for row in listing.rows(NOW)] == ["k"]
    assert [row[0] for row in watch.rows(NOW)] == ["set", "live"]
    with pytest.raises(Refused, match="no model 'x'"):
        caller.ask("list", model="x")
    with pytest.raises(UsageError, match="patterns"):
        caller.ask("watch", patterns=[5])


# --- by name -------------------------------------------------------------------------------------


def test_an_operation_is_called_by_name() -> None:
    caller = Caller()
    caller.ok("call", operation="set", args=["k", {"a": 1}])
    assert caller.ok("call", operation="get", args=["k"]) == {"result": {"a": 1}}
    assert caller.ok("call", operation="size") == {"result": 1}
    with pytest.raises(UsageError, match="call wants args"):
        caller.ask("call", operation="size", args="x")
    with pytest.raises(Refused, match="no operation 'x'"):
        caller.ask("call", operation="x")


@pytest.mark.parametrize(
    "payload",
    [b'"\\ud800"', b"1" + b"0" * 30],
    ids=["surrogate", "large number"],
)
def test_a_value_that_the_control_protocol_can_not_say_is_refused(payload: bytes) -> None:
    """Not when the answer is written, where it would take the daemon along."""
    caller = Caller()
    caller.ok("set", key="k", kind="json", value=payload)
    with pytest.raises(DataError, match="can't be told"):
        caller.ask("call", operation="get", args=["k"])
    assert caller.ok("get", key="k")["value"] == payload


# --- models --------------------------------------------------------------------------------------


def test_models_are_created_listed_and_dropped() -> None:
    caller = Caller()
    assert caller.ok("model_create", model="m", type="map") == {"created": True}
    assert caller.ok("model_create", model="m", type="map") == {"created": False}
    caller.ok("set", model="m", key="k", kind="text", value=b"v")
    lines = caller.ok("model_list")["models"]
    assert [(line["name"], line["keys"]) for line in lines] == [("default", 0), ("m", 1)]
    assert caller.ok("model_drop", model="m") == {"count": 1}
    assert [line["name"] for line in caller.ok("model_list")["models"]] == ["default"]
    with pytest.raises(Refused, match="no model 'm'"):
        caller.ask("model_drop", model="m")


def test_a_dropped_model_is_there_again_when_it_is_created_or_written() -> None:
    caller = Caller()
    for again in ({"op": "model_create"}, {"op": "set", "key": "k", "kind": "text", "value": b""}):
        caller.ok("model_create", model="m")
        caller.ok("set", model="m", key="k", kind="text", value=b"v")
        caller.ok("model_drop", model="m")
        assert caller.ask(again.pop("op"), model="m", **again)
        assert "m" in [line["name"] for line in caller.ok("model_list")["models"]]


def test_the_default_model_stays() -> None:
    with pytest.raises(Refused, match="always there"):
        Caller().ask("model_drop", model="default")


def test_a_model_of_a_type_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageError, match="data type 'tree', allowed are map"):
        Caller().ask("model_create", model="m", type="tree")


def test_the_ttl_of_a_model_can_be_set_and_is_told() -> None:
    caller = Caller()
    caller.ok("model_create", model="m", ttl_ms=100)
    assert caller.ok("model_info", model="m")["ttl_ms"] == 100
    caller.ok("set", model="m", key="k", kind="text", value=b"v")
    assert caller.ok("get", model="m", key="k")["expires_ms"] == WALL + 100
    caller.ok("model_create", model="m")
    assert caller.ok("model_info", model="m")["ttl_ms"] == 100
    caller.ok("model_create", model="m", ttl_ms=0)
    assert caller.ok("model_info", model="m")["ttl_ms"] == 0


def test_what_is_known_of_a_model_is_told() -> None:
    caller = Caller()
    update = write(caller.node, "k")
    info = caller.ok("model_info")
    assert info["name"] == "default"
    assert info["log"] == {"first": 0, "end": 1, "live": 1}
    assert info["clock"] == {f"{'01' * 8}.1": update.timestamp}
    assert {op["name"] for op in info["operations"]} == {
        *("delete", "get", "has", "plant", "set", "size", "tree"),
    }


# --- the cluster ---------------------------------------------------------------------------------


def test_what_the_daemon_knows_is_passed_on() -> None:
    caller = Caller(peers=[{"state": "up"}])
    assert caller.ok("peers") == {"peers": [{"state": "up"}]}
    assert caller.ok("join", addresses=["db1"], save=True) == {"added": ["db1"], "known": []}
    assert caller.asked == [(["db1"], True)]
    assert caller.ok("leave") == {"peers": 3}
    assert caller.ok("config")["settings"] == [
        {"key": "node.name", "value": "n1", "origin": "default"}
    ]
    status = caller.ok("status", Instant(5.0, WALL))
    assert (status["uptime_s"], status["keys"]) == (5.0, 0)
    with pytest.raises(UsageError, match="join wants addresses"):
        caller.ask("join", addresses="db1")


# --- waiting -------------------------------------------------------------------------------------


def waiting(caller: Caller, **fields: Any) -> Waiting:
    result = caller.ask("wait", **fields)
    assert isinstance(result, Waiting)
    return result


def test_one_may_wait_for_a_key_and_for_its_value() -> None:
    caller = Caller()
    there, so = waiting(caller, key="k"), waiting(caller, key="k", value="2")
    assert not there.holds(NOW)
    write(caller.node, "k", "1")
    assert (there.holds(NOW), so.holds(NOW)) == (True, False)
    write(caller.node, "k", "2")
    assert so.holds(NOW)


def test_one_may_wait_for_a_key_of_a_model_that_does_not_exist_yet() -> None:
    caller = Caller()
    there = waiting(caller, model="m", key="k")
    assert not there.holds(NOW)
    model = caller.node.model_to_write("m", "map")
    put(model, "k")  # type: ignore[arg-type]
    assert there.holds(NOW)


def test_one_may_wait_for_links_and_until_all_is_synced() -> None:
    one, two = a_node(1, stored=True), a_node(2, stored=True)
    caller = Caller(one, peers=[{"state": "up"}])
    linked, both = waiting(caller, peers=1), waiting(caller, peers=1, synced=True)
    assert not linked.holds(NOW)
    line = Line(one, two)
    line.settle()
    line.pass_time(0.0, 0.5)
    assert linked.holds(NOW)
    assert both.holds(NOW)
    write(one, "k")
    assert not both.holds(NOW)
    line.pass_time(0.5, 1.0)
    assert both.holds(NOW)


DOWN = {"state": "down", "name": "db1", "address": "db1:7960", "reason": "Connection refused"}


def test_nobody_is_synced_while_a_peer_is_not_linked() -> None:
    caller = Caller(peers=[DOWN])
    assert not waiting(caller, synced=True).holds(NOW)
    assert waiting(Caller(peers=[{"state": "self"}]), synced=True).holds(NOW)


def missing(caller: Caller, **fields: Any) -> str:
    """What one who waits a moment is told when it is over."""
    with pytest.raises(TimedOut) as caught:
        waiting(caller, wait_ms=1, **fields).late(NOW)
    return caught.value.message


def test_who_waited_in_vain_is_told_who_and_what_is_missing() -> None:
    one, two = a_node(1, stored=True), a_node(2, stored=True)
    caller = Caller(one, peers=[DOWN])
    down = "db1 is down (Connection refused)"
    assert missing(caller, peers=2) == f"0 peers up, waited for 2: {down}"
    assert missing(caller, synced=True) == down
    assert missing(caller, key="k") == "there is no key 'k' in model default"
    assert missing(caller, key="k", model="m") == "there is no model 'm'"
    write(one, "k", "1")
    save(one)
    assert missing(caller, key="k", value="2") == "key 'k' is '1'"
    caller = Caller(one, peers=[{"state": "up"}])
    line = Line(one, two)
    line.settle()
    line.pass_time(0.0, 0.5)
    write(one, "k", "2")
    save(one)
    assert missing(caller, synced=True, key="j") == (
        f"{two.settings.name} has not acknowledged 1 update of default; "
        "there is no key 'j' in model default"
    )


def test_who_does_not_say_how_long_it_waits_waits_for_ever() -> None:
    assert waiting(Caller(), key="k").deadline_s == math.inf
    assert waiting(Caller(), key="k", wait_ms=1500).deadline_s == NOW.mono_s + 1.5


@pytest.mark.parametrize("fields", [{}, {"peers": 0}, {"peers": "1"}, {"peers": -1}, {"key": ""}])
def test_to_wait_for_nothing_makes_no_sense(fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Caller().ask("wait", **fields)


# --- anything ------------------------------------------------------------------------------------

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.sampled_from(
        ["", "k", "default", "_members", "map", "text", "json", "set", "get", "\udcff"]
    )
    | st.sampled_from([b"", b"\xff", b"{}", DEEP]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=4,
)
FIELDS = [
    *("model", "key", "kind", "value", "ttl_ms", "if_absent", "if_rev", "keys", "pairs", "pattern"),
    *("values", "deleted", "patterns", "snapshot", "after", "operation", "args", "type", "peers"),
    *("synced", "addresses", "save", "protocol", "mode", "expires_ms", "dry_run"),
]


@examples(300)
@given(
    st.sampled_from(sorted(OPERATIONS)),
    st.dictionaries(st.sampled_from(FIELDS), anything, max_size=6),
)
def test_no_request_raises_anything_but_an_error_that_can_be_told(
    name: str, fields: dict[str, Any]
) -> None:
    caller = Caller()
    write(caller.node, "k")
    try:
        result = caller.ask(name, **fields)
        if isinstance(result, Answer):
            rpc.encode({"id": 1, "ok": result.ok})
        elif isinstance(result, Waiting):
            result.holds(NOW)
        elif not isinstance(result, Cancellation):
            rpc.encode({"id": 1, "rows": result.rows(NOW)})
    except ScuttledError as error:
        rpc.encode({"id": 1, "error": {"message": error.message, "hint": error.hint}})


# --- what an operation wrote before it failed ----------------------------------------------------


class Halves(Map):
    """A type of somebody else's."""

    @operation
    def both(self) -> None:
        """Write one, and fail at the other."""
        self.put("one", TEXT, b"1", self.now_ms())
        raise DataError("the other half")


def test_what_was_written_before_an_operation_failed_wakes_its_readers() -> None:
    caller = Caller()
    caller.node.models["halves"] = model = Halves("halves", caller.node.author)
    woken: list[int] = []
    caller.node.subscribe(lambda: woken.append(model.log.end))
    with pytest.raises(DataError, match="the other half"):
        caller.ask("call", model="halves", operation="both")
    assert woken == [1]


def test_a_text_of_which_one_line_is_too_large_touches_nothing() -> None:
    caller = Caller()
    caller.ask("model_create", model="list", type="sequence")
    caller.ask("call", model="list", operation="text", args=["a\nb\nc\n"])
    end = caller.node.models["list"].log.end
    with pytest.raises(DataError, match="value of"):
        caller.ask("call", model="list", operation="text", args=["x" * 600_000 + "\nb\nnew\n"])
    assert caller.node.models["list"].log.end == end


# --- models of a type of one's own, in and out ---------------------------------------------------


def test_however_small_the_updates_are_they_are_got_at_once_or_not_at_all() -> None:
    caller = Caller()
    model = caller.node.models["default"]
    most = UPDATES_BYTES_MAX // (ROW_BYTES + len(b"...k00000v"))
    for n in range(most):
        put(model, f"k{n:05}", "v")  # type: ignore[arg-type]
    frame = rpc.encode({"id": 1, "ok": caller.ok("updates", model="default")})
    assert len(frame) < rpc.FRAME_BYTES_MAX // 2
    for n in range(1000):
        put(model, f"more{n}", "v")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="updates of more than 2,097,152 bytes"):
        caller.ask("updates", model="default")
