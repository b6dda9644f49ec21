"""Connections that end, on either side, and are made anew; what docs/npm.md shows does so."""

import re
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from support.fleet import Fleet
from support.npm_door import bridged, holds, npm_rows
from support.waiting import until

import scuttled

Start = Callable[..., Any]

DOCS = Path(scuttled.__file__).parent / "docs" / "npm.md"
TOLD_WHAT_TO_DO = """
function say (o) { process.stdout.write(JSON.stringify(o) + '\\n') }
require('readline').createInterface({ input: process.stdin }).on('line', function (line) {
  var call = JSON.parse(line)
  if (call[0] === 'set') { model.set(call[1], call[2]); return say({ answer: null }) }
  say({ answer: call[0] === 'streams' ? model._streams : model.toJSON() })
})
say({ answer: 'ready' })
"""


def test_the_program_in_the_docs_dials_again(fleet: Fleet, npm: Start, tmp_path: Path) -> None:
    daemon, port = bridged(fleet)
    [snippet] = re.findall(r"```js\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert "connect(7000, " in snippet
    assert "setTimeout(connect, 1000)" in snippet
    snippet = snippet.replace("connect(7000, ", f"connect({port.partition(':')[2]}, ")
    snippet = snippet.replace("setTimeout(connect, 1000)", "setTimeout(connect, 10)")
    script = tmp_path / "snippet.js"
    script.write_text(snippet + TOLD_WHAT_TO_DO)
    peer = npm(script=script)
    peer("set", "a", 1)
    holds(daemon, {"a": 1})
    for end in (daemon.kill9, daemon.stop):
        end()
        peer("set", f"meanwhile {end.__name__}", 2)
        daemon.start()
    expected = {"a": 1, "meanwhile kill9": 2, "meanwhile stop": 2}
    holds(daemon, expected)
    daemon.cli("set", "ours", "x")
    peer.becomes({**expected, "ours": "x"})
    assert peer("streams") == 1


def test_a_peer_that_is_dialled_is_shown_while_it_is_down_and_found_when_it_comes(
    fleet: Fleet, npm: Start
) -> None:
    address = fleet.address("npm-server")
    daemon = fleet.daemon("a", args=["--npm-connect", f"{address}=default"])
    until(lambda: "Connection refused" in npm_rows(daemon)[""]["reason"], "the reason")
    row = npm_rows(daemon)[""]
    assert (row["address"], row["state"]) == (address, "npm-down")
    assert any(f"npm peer {address} is not" in words for words in daemon.ask("status")["problems"])
    host, _, port = address.rpartition(":")
    for garbage in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b'{"id":"x"}\n', b"\xff\xfe\n"):
        with closing(socket.create_server((host, int(port)))) as server:
            stream, _ = server.accept()
            stream.sendall(garbage)
            stream.close()
    peer = npm("model", "N1", f"listen:{port}")
    peer("set", "k", 1)
    holds(daemon, {"k": 1})
    assert npm_rows(daemon)["N1"]["state"] == "npm"
    assert daemon.ask("status")["healthy"] is True
    peer.kill()
    until(lambda: npm_rows(daemon).get("N1", {}).get("state") == "npm-down", "it to be missed")
    again = npm("model", "N2", f"listen:{port}")
    again.becomes({"k": 1})


def test_a_name_that_can_not_be_looked_up_ends_no_dialling(fleet: Fleet, npm: Start) -> None:
    address = fleet.address("npm-server")
    odd = "no-such-host.invalid:7001=default"
    args = ["--npm-connect", odd, "--npm-connect", f"{address}=default"]
    daemon = fleet.daemon("a", args=args)
    peer = npm("model", "N1", f"listen:{address.rpartition(':')[2]}")
    peer("set", "k", 1)
    holds(daemon, {"k": 1})
    [down] = [row for row in daemon.ask("peers")["peers"] if row["state"] == "npm-down"]
    assert down["address"] == "no-such-host.invalid:7001"
    assert down["reason"]
    assert "Traceback" not in daemon.log()


def test_a_stranger_at_the_npm_port_is_shown_once(fleet: Fleet) -> None:
    daemon, port = bridged(fleet)
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", int(port.partition(":")[2])), 10) as stream:
            stream.sendall(b"GET / HTTP/1.1\r\n\r\n")
            stream.recv(100)
    rows = until(lambda: [row for row in npm_rows(daemon).values()], "the stranger")
    assert [row["state"] for row in rows] == ["npm-gone"]
    assert "a line that is no JSON" in rows[0]["reason"]
    assert daemon.ask("status")["healthy"] is True
