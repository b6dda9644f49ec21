import io
import sys

import pytest

from scuttled.cli import progress
from scuttled.cli.progress import Progress
from scuttled.cli.settings import Settings


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, stderr: io.StringIO, *, quiet: bool = False) -> str:
    """What work of some length leaves on that stderr."""
    monkeypatch.setattr(sys, "stderr", stderr)
    settings = Settings({})
    settings.quiet = quiet
    with Progress("importing", 10, settings) as bar:
        assert list(bar.over([b"12345", b"67890"])) == [b"12345", b"67890"]
    return stderr.getvalue()


def test_a_person_who_waits_sees_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_QUIET_S", -1)
    assert "importing" in shown(monkeypatch, Terminal())
    assert shown(monkeypatch, Terminal(), quiet=True) == ""


def test_a_program_never_sees_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_QUIET_S", -1)
    assert shown(monkeypatch, io.StringIO()) == ""


def test_what_is_done_at_once_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, Terminal()) == ""
