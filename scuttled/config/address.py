"""Addresses, as people write them: where a node listens, and where its peers are.

Only the form is looked at. Names are looked up by whoever dials, at every attempt.
"""

import ipaddress
import os
import re
from typing import NamedTuple

from scuttled.errors import ConfigError

PORT = 7960
ADDRESS_CHARS_MAX = 255  # as peers take it in a HELLO; no name that can be looked up is longer

_FORM = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<host>[\w.-]+))(?::(?P<port>[0-9]{1,5}))?")

_NAME = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63})*\.?")  # else asking for it is an error of our own


class Address(NamedTuple):
    """The end of a stream: a host and port, or `unix:/path` and 0."""

    host: str
    port: int

    def __str__(self) -> str:
        if self.host.startswith("unix:"):
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`host[:port]`, `[IPv6][:port]` or `unix:/path`. Port 0, "any free one", is for listening.

    Raises ConfigError.
    """
    if len(text) > ADDRESS_CHARS_MAX:
        raise ConfigError(
            f"{text[:60]!r}… is an address of {len(text)} characters, at most {ADDRESS_CHARS_MAX}"
        )
    if text.startswith("unix:/"):
        if not _is_path(text):
            raise ConfigError(f"{text[:300]!r} is not an address: no file has such a name")
        return Address(text, 0)
    match = _FORM.fullmatch(text)
    if match is None or (match["v6"] and not _is_ipv6(match["v6"])):
        wanted = f"[{text}]" if _is_ipv6(text) else "host, host:port or [IPv6]:port"
        raise ConfigError(f"{text!r} is not an address: write {wanted}")
    if match["host"] and not _NAME.fullmatch(match["host"]):
        words = "a name's parts, between dots, have 1 to 63 characters"
        raise ConfigError(f"{text[:300]!r} is not an address: {words}")
    port = int(match["port"] or PORT)
    if port > 65535:
        raise ConfigError(f"{text!r} has port {port}, at most 65535")
    return Address(match["v6"] or match["host"], port)


def _is_path(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def is_loopback(host: str) -> bool:
    """True if nobody but this machine can be behind `host`. Names are not looked up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.startswith("unix:")


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True
