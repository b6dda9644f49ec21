"""Every field of every input, given every type that JSON has: one is right, the others are refused.

The tables say which. Nothing of what is refused is kept, and the error names what was seen.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from support.scenes import NOW, a_door, a_node, default, write

from scuttled.cli.import_format import ImportEntry, JsonLinesReader, Section, TabLinesReader
from scuttled.config.config import SETTINGS, load
from scuttled.control.control_operation import NoFields
from scuttled.control.operations import OPERATIONS, Requests
from scuttled.errors import ConfigError, DataError, ScuttledError
from scuttled.models.operations import operations
from scuttled.models.registry import MODELS
from scuttled.replica.scuttlebutt import Scuttlebutt

JSON_TYPES: dict[str, Any] = {
    "null": None,
    "true": True,
    "false": False,
    "zero": 0,
    "one": 1,
    "negative": -1,
    "huge": 10**30,
    "float": 1.5,
    "whole float": 1.0,
    "text": "text",
    "empty": "",
    "array": [],
    "array of one": [1],
    "object": {},
    "object of one": {"a": 1},
}
TEXTS = {"text", "empty"}
NUMBERS = {"zero", "one"}
FLAGS = {"true", "false"}
ANY = set(JSON_TYPES)

# --- import --------------------------------------------------------------------------------------

KEY = {"v": 1, "key": "k", "value": "x"}
HEADER = {"v": 1, "scuttled_export": 1, "model": "m", "node": "n", "time_ms": 1}
ALL = {"v": 1, "scuttled_export": 1, "models": 1, "node": "n", "time_ms": 1}
MAP = {"v": 1, "model": "m", "type": "map", "ttl_ms": 0}
END = {"v": 1, "end": True, "keys": 0}

IMPORTS = [  # the lines before, the line, its field, what it may be
    ([], KEY, "v", {"one"}),
    ([], KEY, "key", {"text"}),
    ([], KEY, "value", ANY),
    ([], KEY, "kind", {"text"}),
    ([], KEY, "expires_ms", NUMBERS),
    ([], KEY, "raw", set()),
    ([], KEY, "rev", ANY),  # not ours to read: `ls -j` has it
    ([], {"key": "k", "kind": "json", "value": 1}, "raw", set()),
    ([], {"key": "k", "kind": "text", "value": "x"}, "value", TEXTS),
    ([], {"key": "k", "value_b64": "eA=="}, "value_b64", {"empty", "text"}),
    ([], {"key": "k", "value_b64": "eA=="}, "kind", {"text"}),
    ([], HEADER, "v", {"one"}),
    ([], HEADER, "scuttled_export", {"one"}),
    ([], HEADER, "prefix", TEXTS),
    ([], HEADER, "model", TEXTS),
    ([], HEADER, "node", TEXTS),
    ([], HEADER, "time_ms", NUMBERS),
    ([], ALL, "models", {"zero"}),  # for none follows
    ([ALL], MAP, "v", {"one"}),
    ([ALL], MAP, "model", {"text"}),
    ([ALL], MAP, "type", {"text"}),  # of somebody else's: the daemon is asked
    ([ALL], MAP, "ttl_ms", NUMBERS),
    ([ALL], {**MAP, "type": "counter"}, "state", {"zero", "one", "negative", "huge"}),
    ([ALL], {**MAP, "type": "set"}, "state", {"array", "array of one"}),
    ([ALL], {**MAP, "type": "log"}, "state", {"array", "array of one"}),
    ([ALL], {**MAP, "type": "sequence"}, "state", {"array", "array of one"}),
    ([ALL], {**MAP, "type": "doc"}, "state", {"object"}),
    ([ALL], {**MAP, "type": "events"}, "state", {"array"}),
    ([], END, "v", {"one"}),
    ([], END, "keys", {"zero"}),
    ([], END, "sha256", set()),
]


def ended(lines: list[dict[str, Any]]) -> list[bytes]:
    """With the last line that an export of these lines has."""
    whole = [json.dumps(line).encode() + b"\n" for line in lines]
    if "scuttled_export" in lines[0]:
        from hashlib import sha256

        keys = sum("key" in line for line in lines)
        trailer = {"v": 1, "end": True, "keys": keys, "sha256": sha256(b"".join(whole)).hexdigest()}
        whole.append(json.dumps(trailer).encode())
    return whole


@pytest.mark.parametrize("kind", JSON_TYPES)
@pytest.mark.parametrize(
    ("before", "line", "field", "allowed"),
    IMPORTS,
    ids=[f"{'-'.join(line)}:{field}"[-40:] for _, line, field, _ in IMPORTS],
)
def test_every_field_of_a_file_to_import(
    before: list[dict[str, Any]], line: dict[str, Any], field: str, allowed: set[str], kind: str
) -> None:
    lines = ended([*before, {**line, field: JSON_TYPES[kind]}])
    if kind in allowed:
        assert all(isinstance(item, ImportEntry | Section) for item in JsonLinesReader(lines))
        return
    with pytest.raises(DataError, match=rf"line {len(before) + 1}|models were|keys were"):
        list(JsonLinesReader(lines))


@pytest.mark.parametrize(
    "text",
    [
        *("null", "true", "1234", "AAA", "AA=", "AA==\n", " AA==", "AB==", "A===", "===="),
        *("AA==AA==", "_-8=", "ÄÄÄÄ", "AA\r\n=="),
    ],
)
def test_base64_is_taken_strictly(text: str) -> None:
    line = json.dumps({"key": "k", "value_b64": text}).encode()
    if text in ("null", "true", "1234"):  # four letters of the alphabet: bytes, if given as text
        assert len(next(iter(JsonLinesReader([line]))).value) == 3  # type: ignore[union-attr]
        line = b'{"key":"k","value_b64":%b}' % text.encode()
    with pytest.raises(DataError, match="value_b64"):
        list(JsonLinesReader([line]))


@pytest.mark.parametrize(
    "line",
    [
        b'{"key":"k","value":1e999}',
        b'{"key":"k","value":-Infinity}',
        b'{"key":"k","value":[NaN]}',
        b'{"key":"k","value":%b}' % (b"9" * 5000),
        b'{"key":"k","value":true,"kind":"json","raw":"1"}',
        b'{"key":"k","value":1,"kind":"json","raw":"1.0"}',
        b'{"key":"k","value":1,"kind":"text"}',
        b'{"key":"k","value_b64":"/w==","kind":"text"}',
        b'{"key":"k","value_b64":"/w==","kind":"json"}',
        b'{"key":"k","value":"x","kind":"JSON"}',
    ],
)
def test_a_value_is_what_its_kind_says(line: bytes) -> None:
    with pytest.raises(DataError, match="line 1"):
        list(JsonLinesReader([line]))


# --- the control socket --------------------------------------------------------------------------

REQUESTS: dict[str, tuple[dict[str, Any], dict[str, set[str]]]] = {
    "get": ({"key": "k"}, {"model": TEXTS, "key": TEXTS}),
    "set": (
        {"key": "n", "kind": "text", "value": b"v"},
        {
            "model": TEXTS,
            "key": TEXTS,
            "kind": TEXTS,
            "value": TEXTS,
            "ttl_ms": NUMBERS,
            "if_absent": FLAGS,
            "if_rev": TEXTS,
            "wait": {"null", "one", "text"},
            "wait_ms": NUMBERS,
            "hold_ms": NUMBERS,
        },
    ),
    "del": ({"keys": ["k"]}, {"keys": {"array"}, "model": TEXTS, "wait_ms": NUMBERS}),
    "load": (
        {"kind": "text", "pairs": ["n", b"v"]},
        {
            "model": TEXTS,
            "kind": TEXTS,
            "pairs": {"array"},
            "expires_ms": {"null", "array of one"},
            "mode": TEXTS,
            "dry_run": FLAGS,
        },
    ),
    "list": ({}, {"model": TEXTS, "pattern": TEXTS, "values": FLAGS, "deleted": FLAGS}),
    "tally": ({}, {"model": TEXTS, "pattern": TEXTS, "depth": NUMBERS, "deleted": FLAGS}),
    "watch": (
        {},
        {"model": TEXTS, "patterns": {"array"}, "snapshot": FLAGS, "after": TEXTS},
    ),
    "emit": (
        {"name": "e", "kind": "text", "value": b"v"},
        {"model": TEXTS, "name": TEXTS, "kind": TEXTS, "value": TEXTS, "wait_ms": NUMBERS},
    ),
    "on": ({}, {"model": TEXTS, "names": {"array"}, "after": {*TEXTS, "null"}}),
    "call": (
        {"operation": "size", "args": []},
        {"model": TEXTS, "operation": TEXTS, "args": {"array"}, "wait_ms": NUMBERS},
    ),
    "model_create": (
        {"model": "new"},
        {"model": TEXTS, "type": TEXTS, "ttl_ms": NUMBERS, "keep_ms": NUMBERS},
    ),
    "model_info": ({}, {"model": TEXTS}),
    "model_drop": ({"model": "other"}, {"model": TEXTS}),
    "join": ({"addresses": ["a"]}, {"addresses": {"array"}, "save": FLAGS}),
    "forget": ({"node": "x"}, {"node": TEXTS}),
    "wait": (
        {"key": "k"},
        {
            "key": TEXTS,
            "model": TEXTS,
            "value": {*TEXTS, "null"},
            "peers": NUMBERS,
            "synced": FLAGS,
        },
    ),
    "verify": ({}, {"model": TEXTS, "wait_ms": NUMBERS, "repair": FLAGS}),
    "part": ({"addresses": ["a"]}, {"addresses": {"array"}}),
    "updates": ({"model": "default"}, {"model": TEXTS}),
    "merge": (
        {"model": "m", "type": "map", "updates": [], "clock": {}},
        {
            "model": TEXTS,
            "type": TEXTS,
            "updates": {"array"},
            "clock": {"object"},
            "replace": FLAGS,
            "dry_run": FLAGS,
        },
    ),
    "hello": ({"protocol": [1, 1]}, {"protocol": set(), "client": TEXTS}),
}
CASES = [
    (op, field, kind)
    for op, (_, fields) in REQUESTS.items()
    for field, allowed in fields.items()
    for kind in JSON_TYPES.keys() - allowed
]


def requests_of_a_node() -> Requests:
    node = a_node(1)
    write(node, "k")
    return Requests(node, a_door())


def code_of(requests: Requests, asked: dict[str, Any]) -> int:
    """Of the error, 0 if there is none. Whatever is no error of ours comes out: a bug."""
    try:
        requests.carry_out(asked, NOW)
    except ScuttledError as error:
        return error.code
    return 0


@pytest.mark.parametrize(("op", "field", "kind"), sorted(CASES))
def test_every_field_of_a_request(op: str, field: str, kind: str) -> None:
    requests = requests_of_a_node()
    before = {name: model.log.end for name, model in requests.context.node.models.items()}
    fields, _ = REQUESTS[op]
    with pytest.raises(ScuttledError) as refused:
        requests.carry_out({"op": op, **fields, field: JSON_TYPES[kind]}, NOW)
    assert refused.value.code in (1, 2, 65, 76), refused.value.message
    assert {name: model.log.end for name, model in requests.context.node.models.items()} == before
    assert default(requests.context.node).count == 1


def test_the_table_has_every_operation() -> None:
    lenient = {"cancel"}  # ends nothing where its field names no stream
    without_fields = {op for op, found in OPERATIONS.items() if found.request is NoFields}
    asked = OPERATIONS.keys() - without_fields - lenient
    assert asked - REQUESTS.keys() == set(), (
        "add them to REQUESTS: fields that are right, and types"
    )
    assert REQUESTS.keys() - asked == set(), "no such operations, or without fields"


@pytest.mark.parametrize("op", REQUESTS)
def test_what_the_table_calls_right_is_no_bug(op: str) -> None:
    fields, types = REQUESTS[op]
    for field, allowed in types.items():
        for kind in allowed:
            requests = requests_of_a_node()
            asked = {"op": op, **fields, field: JSON_TYPES[kind]}
            assert code_of(requests, asked) in (0, 1, 2, 65), asked


def test_a_field_that_nobody_knows_is_passed_over() -> None:
    requests_of_a_node().carry_out({"op": "list", "of_a_later_version": {"a": [1]}}, NOW)


@pytest.mark.parametrize("data_type", MODELS)
def test_every_argument_of_every_operation(data_type: str) -> None:
    for op in operations(MODELS[data_type]):
        for at in range(len(op.args)):
            for value in JSON_TYPES.values():
                requests = requests_of_a_node()
                requests.context.node.create("m", data_type)
                args: list[Any] = ["a"] * max(op.least, at + 1)
                args[at] = value
                asked = {"op": "call", "model": "m", "operation": op.name, "args": args}
                assert code_of(requests, asked) in (0, 1, 2, 65), asked
                json.dumps(whole(requests.context.node.models["m"]))


def whole(model: Scuttlebutt) -> str:
    return model.whole()[1].decode()


# --- configuration -------------------------------------------------------------------------------

TOML_TYPES = {"true": "true", "one": "1", "float": "1.5", "text": '"text"', "array": "[1]",
              "texts": '["a"]', "date": "2026-01-01", "table": "{a = 1}", "inf": "inf"}  # fmt: skip
SWITCHES = {"gossip.insecure", "storage.memory", "security.sign"}
LISTS = {
    "cluster.peers",
    "flow.enforce",
    "node.types",
    "security.trust",
    "npm.listen",
    "npm.connect",
}


@pytest.mark.parametrize("kind", TOML_TYPES)
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.path)
def test_every_setting_of_a_file(setting: Any, kind: str, tmp_path: Path) -> None:
    """What is right for a setting is told elsewhere; here, that nothing of another type is."""
    wanted = "true" if setting.path in SWITCHES else "texts" if setting.path in LISTS else "text"
    if kind == wanted:
        return
    path = tmp_path / "scuttled.toml"
    path.write_text(f"[{setting.section}]\n{setting.key} = {TOML_TYPES[kind]}\n")
    with pytest.raises(ConfigError) as refused:
        load({"HOME": "/root"}, file=str(path))
    assert f"{path}:2: {setting.path}" in refused.value.message


# --- lines of keys and values --------------------------------------------------------------------


def test_tab_lines_have_no_types_and_are_taken_as_they_are() -> None:
    lines = [b"k\tnull\n", b"true\t1\n"]
    assert [(entry.key, entry.value) for entry in TabLinesReader(lines)] == [
        ("k", b"null"),
        ("true", b"1"),
    ]
