"""Fixtures of the tests that run commands against a scripted daemon."""

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.scripted_daemon import Result, ScriptedDaemon, Scuttled

from scuttled.__main__ import run


@pytest.fixture
def scuttled(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> Scuttled:
    """Runs a command in this process, in an environment where no daemon can be found."""
    for name in [name for name in os.environ if name.startswith("SCUTTLED_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SCUTTLED_SOCKET", "/nowhere/control.sock")

    def call(*args: str, stdin: bytes = b"") -> Result:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = run(list(args))
        out, err = capfdbinary.readouterr()
        return Result(code, out, err.decode())

    return call


@pytest.fixture
def daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scuttled: Scuttled
) -> Iterator[ScriptedDaemon]:
    """A scripted daemon that commands find, in this process and in those it starts."""
    with ScriptedDaemon(tmp_path / "control.sock") as daemon:
        monkeypatch.setenv("SCUTTLED_SOCKET", daemon.path)
        yield daemon
