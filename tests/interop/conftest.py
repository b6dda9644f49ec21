"""The real npm packages at the other end: installed once, run in node, told what to do by lines."""

import json
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.waiting import PATIENCE_S, until

PACKAGES = ("scuttlebutt@5.6.15", "scuttlebucket", "r-value", "expiry-model", "r-array", "crdt")
INSTALL_S = 180
SCRIPT = Path(__file__).with_name("peer.js")


def _give_up(words: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(words)
    pytest.skip(words)


@pytest.fixture(scope="session")
def npm_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where node finds the packages. Without node or npm a failure in CI, a skip elsewhere."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            _give_up(f"{tool} is not installed: the npm packages can't be tried")
    home = tmp_path_factory.mktemp("npm")
    # crdt names it-is among what it needs, and never requires it; it-is needs what is gone.
    stub = home / "it-is"
    stub.mkdir()
    (stub / "package.json").write_text(json.dumps({"name": "it-is", "version": "1.0.3"}))
    (stub / "index.js").write_text("")
    package = {"private": True, "overrides": {"it-is": "file:./it-is"}}
    (home / "package.json").write_text(json.dumps(package))
    command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", *PACKAGES]
    try:
        done = subprocess.run(
            command, cwd=home, capture_output=True, timeout=INSTALL_S, check=False
        )
    except subprocess.TimeoutExpired:
        _give_up(f"npm install took more than {INSTALL_S} s")
    if done.returncode:
        _give_up(f"npm install failed: {done.stderr.decode(errors='replace')[-500:]}")
    return home / "node_modules"


class Peer:
    """A node process with one replica."""

    def __init__(self, modules: Path, *args: str, script: Path = SCRIPT) -> None:
        self.process = subprocess.Popen(
            ["node", str(script), *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "NODE_PATH": str(modules)},
            text=True,
            encoding="utf-8",
        )
        self.headers: list[dict[str, Any]] = []
        self._answers: queue.Queue[Any] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._answers.get(timeout=PATIENCE_S)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            if "header" in said:
                self.headers.append(said["header"])
            else:
                self._answers.put(said.get("answer"))

    def __call__(self, *call: Any) -> Any:
        """Do that, and give what comes of it."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(call) + "\n")
        self.process.stdin.flush()
        return self._answers.get(timeout=PATIENCE_S)

    def is_alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def becomes(self, expected: Any, *question: Any) -> None:
        """Ask until the answer is that."""
        ask = question or ("state",)
        until(lambda: self(*ask) == expected, f"{ask} to be {expected!r:.200}")


@pytest.fixture
def npm(npm_modules: Path) -> Iterator[Callable[..., Peer]]:
    """`npm("model", "id", "connect:7000")`: a process, ended with the test."""
    peers: list[Peer] = []

    def start(*args: str, script: Path = SCRIPT) -> Peer:
        peers.append(Peer(npm_modules, *args, script=script))
        return peers[-1]

    yield start
    for peer in peers:
        peer.kill()
