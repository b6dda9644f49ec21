"""Models of every type in a file, and back."""

import json

from support.fleet import Daemon, Fleet

MADE = {
    "set": [("add", '"red"'), ("add", '{"b":1}'), ("add", '"gone"'), ("remove", '"gone"')],
    "counter": [("add", "7"), ("add", "-2")],
    "log": [("append", "first"), ("append", '{"x":[1,2]}')],
    "doc": [("put", "row", '{"f":1,"g":"x"}'), ("put", "other", '{"f":null}')],
    "sequence": [("insert", "0", '[1,"two",{"three":3}]'), ("unshift", "zero")],
    "value": [("set", "hello")],
}


def fill(daemon: Daemon) -> None:
    for data_type, calls in MADE.items():
        daemon.cli("model", "create", f"a-{data_type}", "--type", data_type)
        for args in calls:
            daemon.cli("-m", f"a-{data_type}", "call", *args)
    daemon.cli("emit", "deployed", "v42")
    daemon.cli("set", "k", "v")


def wholes(daemon: Daemon) -> dict[str, bytes]:
    names = ["events", *(f"a-{data_type}" for data_type in MADE)]
    return {name: daemon.cli("-m", name, "get").stdout for name in names}


def test_models_of_every_type_come_back_in_one_file_and_are_not_counted_twice(fleet: Fleet) -> None:
    one, other = fleet.daemon("one"), fleet.daemon("other")
    fill(one)
    file = one.cli("export", "--all-models").stdout
    assert other.cli("import", "-", stdin=file).returncode == 0
    assert wholes(other) == wholes(one)
    again = other.cli("import", "-", stdin=file).stderr.decode()
    assert "0 keys imported into a-counter, 1 left alone" in again
    assert wholes(other) == wholes(one)
    lines = [json.loads(line) for line in file.splitlines()]
    assert {"v": 1, "model": "a-counter", "type": "counter", "state": 5} in lines


def test_replace_makes_a_model_of_another_type_what_the_file_says(fleet: Fleet) -> None:
    one = fleet.daemon("one")
    fill(one)
    file = one.cli("-m", "a-set", "export").stdout
    before = wholes(one)
    one.cli("-m", "a-set", "call", "add", "later")
    refused = one.cli("import", "--mode", "replace", "-", stdin=file, check=False)
    assert refused.returncode == 2
    assert b"--yes" in refused.stderr
    one.cli("import", "--mode", "replace", "--yes", "-", stdin=file)
    assert wholes(one) == before
    one.cli("model", "drop", "a-set", "--yes")
    assert b"a-set" not in one.cli("model", "ls").stdout
    one.cli("import", "-", stdin=file)
    assert wholes(one) == before
