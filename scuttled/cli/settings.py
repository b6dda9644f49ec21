"""Settings of one run of a command: what its global options and the environment say."""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from scuttled.cli import output
from scuttled.errors import UsageError

if TYPE_CHECKING:
    from scuttled.client.client import Client

OUTPUTS = ("auto", "table", "plain", "json")
_ID_CHARS = 8  # of a node's id, beside a name that is not its alone


class Settings:
    """Global options, and where none was given, the environment."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self.environ = environ
        self.named_model = environ.get("SCUTTLED_MODEL") or ""  # "" if nobody named one
        self.output = environ.get("SCUTTLED_OUTPUT") or "auto"
        self.socket: str | None = None
        self.timeout = environ.get("SCUTTLED_TIMEOUT") or ""
        self.quiet = False
        self.verbose = 0
        self.color = "auto"
        self._client: Client | None = None  # the latest one

    @property
    def model(self) -> str:
        """The model to work on."""
        return self.named_model or "default"

    @model.setter
    def model(self, name: str) -> None:
        self.named_model = name

    @property
    def events_model(self) -> str:
        """The model whose events are emitted and heard."""
        return self.named_model or "events"

    @property
    def form(self) -> str:
        """`table` for people, `plain` lines for programs, or `json` lines."""
        if self.output not in OUTPUTS:
            raise UsageError(
                f"SCUTTLED_OUTPUT is {self.output!r}: it can be {', '.join(OUTPUTS)}",
                hint="unset SCUTTLED_OUTPUT",
            )
        if self.output == "auto":
            return "table" if output.is_tty() else "plain"
        return self.output

    @property
    def json(self) -> bool:
        return self.form == "json"

    @property
    def timeout_s(self) -> float | None:
        """Seconds, if the user gave any."""
        if not self.timeout:
            return None
        from scuttled.units import parse_duration

        found = parse_duration(self.timeout)
        if found <= 0:
            raise UsageError(f"a timeout of {self.timeout!r} leaves no time at all")
        return found

    @property
    def colored(self) -> bool:
        """True if tables may have colour; plain and JSON lines never have."""
        if self.color != "auto":
            return self.color == "always"
        dumb = self.environ.get("TERM") == "dumb" or bool(self.environ.get("NO_COLOR"))
        return output.is_tty() and not dumb

    def paths(self) -> list[str]:
        """The sockets to try."""
        from scuttled.client.client import socket_paths

        return socket_paths(self.socket, self.environ)

    def connect(self) -> "Client":
        """A connection to the daemon; `with` closes it."""
        from scuttled.client.client import TIMEOUT_S, Client

        timeout_s = self.timeout_s
        client = Client.connect(self.paths(), TIMEOUT_S if timeout_s is None else timeout_s)
        if self.verbose:
            output.say(f"scuttled: connected to {client.path}")
        self._client = client
        return client

    def label(self, name: str | None, node: str | None) -> str:
        """A node as people are shown it: its name, with the beginning of its id if others bear
        that name, too; its id if no name is known.
        """
        if not name:
            return node or "-"
        shared = self._client is not None and name in self._client.namesakes
        return f"{name} ({node[:_ID_CHARS]})" if node and shared else name

    def say(self, text: str) -> None:
        """A message on stderr that -q silences."""
        if not self.quiet:
            output.say(text)

    def show(
        self,
        header: list[str],
        rows: Sequence[Sequence[bytes | str]],
        styles: Mapping[str, str] | None = None,
        *,
        notes: Sequence[Sequence[str]] = (),
        wide: bool = False,
    ) -> None:
        """A table as wide as the terminal, or as `wide` as it is; `notes`: lines below each row."""
        colors = (styles or {}) if self.colored else None
        columns = None if wide else output.width()
        output.write(output.table(header, rows, columns=columns, styles=colors, notes=notes))

    def check_can_ask(self, what: str, *, yes: bool) -> None:
        """Before any work: without a person to ask it takes --yes, for no answer is not a yes."""
        person = sys.stdin is not None and sys.stdin.isatty() and output.is_watched()
        if not (yes or person):
            raise UsageError(f"no terminal to ask on: to {what} it takes --yes")

    def confirm(self, what: str, *, yes: bool) -> None:
        """Asks a person; after a no the command ends."""
        if not yes and not click.confirm(f"{what}?", err=True):
            raise click.exceptions.Exit(1)
