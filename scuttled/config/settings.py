"""The table of settings: one line each, and how its kind is read and written.

A new setting is a line here, a field of Config and a key in config/scuttled.toml; a test says
which of them was forgotten.
"""

import difflib
import json
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from scuttled.config.address import parse_address
from scuttled.units import parse_duration

TYPES_KNOWN = ("map", "value", "log", "events", "set", "counter", "doc", "sequence")
LABEL_CHARS_MAX = 64  # of a node's or cluster's name; as long as a host name may be

_SWITCH_WORDS = {"true": True, "yes": True, "on": True, "1": True}
_SWITCH_WORDS |= {"false": False, "no": False, "off": False, "0": False}


def toml(value: object) -> str:
    """A value as the file would hold it. What TOML takes of strings, lists and switches is JSON."""
    return json.dumps(value, ensure_ascii=False, default=str)


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """`: did you mean 'x'?`, or nothing."""
    near = difflib.get_close_matches(str(word), known, n=1)
    return f": did you mean {near[0]!r}?" if near else ""


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Kind:
    """Forms of one kind of setting: from text to TOML to the daemon, and back to TOML for people.

    `read` takes whatever TOML may hold; what it does not like it refuses with a ValueError or
    ScuttledError that shows the value and says what is allowed. `from_text` turns the text of a
    flag or variable into what the file would hold.
    """

    read: Callable[[object], object]
    from_text: Callable[[str], object] = _same
    to_toml: Callable[[Any], object] = _same


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{toml(value)} is not text: put it in quotes")
    return value


def _label(value: object) -> str:
    text = _text(value)
    if len(text) > LABEL_CHARS_MAX or " " in text or not text.isprintable():
        allowed = f"at most {LABEL_CHARS_MAX} characters that can be seen, no space among them"
        raise ValueError(f"{text!r} is not a name: {allowed}")
    return text


def _cluster(value: object) -> str:
    if not (name := _label(value)):
        raise ValueError('"" is not the name of a cluster')
    return name


def _path(value: object) -> str:
    """Absolute: a daemon that is started elsewhere must not look for its state elsewhere."""
    path = os.path.expanduser(_text(value))
    if (path and not os.path.isabs(path)) or "\0" in path:
        raise ValueError(f"{path!r} is not an absolute path")
    return path


def _path_from_text(text: str) -> str:
    """On a command line a path counts from the working directory, as everywhere."""
    path = os.path.expanduser(text)
    try:
        return os.path.abspath(path)
    except FileNotFoundError:
        raise ValueError(f"{path!r} counts from the working directory, which is gone") from None


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{toml(value)} is not a switch: true or false")
    return value


def _switch_from_text(text: str) -> object:
    return _SWITCH_WORDS.get(text.lower(), text)


def _listen(value: object) -> str:
    parse_address(_text(value))
    return _text(value)


def _peer(value: object) -> str:
    text = _listen(value)
    if not text.startswith("unix:") and parse_address(text).port == 0:
        raise ValueError(f"{text!r} has port 0, where nobody answers: 1 to 65535")
    return text


def _advertise(value: object) -> str:
    return "" if value == "" else _peer(value)


def _peers(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f'{toml(value)} is not a list: write it like ["db1", "db2:7960"]')
    return tuple(dict.fromkeys(_peer(peer) for peer in value))


def _peers_from_text(text: str) -> list[str]:
    return [peer.strip() for peer in text.split(",") if peer.strip()]


def _bridges(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f'{toml(value)} is not a list: write it like ["127.0.0.1:7000=default"]')
    return tuple(dict.fromkeys(_bridge(_text(text)) for text in value))


def _bridges_from_text(text: str) -> list[str]:
    """At commas, but for those between braces: `ADDR=bucket:PREFIX{PART=TYPE,PART=TYPE}`."""
    return [part.strip() for part in re.split(r",(?![^{]*\})", text) if part.strip()]


def _bridge(text: str) -> str:
    address, _, model = text.partition("=")
    if not model:
        raise ValueError(f"{text!r} names no model: write ADDR=MODEL, like 127.0.0.1:7000=default")
    parse_address(address)
    return text


def _types(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f'{toml(value)} is not a list: write it like ["package.module:Class"]')
    for text in value:
        if not re.fullmatch(r"[\w.]+:\w+", _text(text)):
            raise ValueError(f"{text!r} is not a type: write it like package.module:Class")
    return tuple(dict.fromkeys(value))


def _enforce(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f'{toml(value)} is not a list of data types: write it like ["log"], or []')
    return tuple(dict.fromkeys(_text(name) for name in value))


def _trust(value: object) -> tuple[str, ...]:
    if value in ("any-signed", []):
        return ()
    if not isinstance(value, list):
        raise ValueError(f'{toml(value)} is neither "any-signed" nor a list of node ids')
    for text in value:
        if not (isinstance(text, str) and re.fullmatch("[0-9a-f]{16}", text)):
            raise ValueError(f"{toml(text)} is not a node id: 16 hexadecimal digits")
    return tuple(dict.fromkeys(value))


def _trust_from_text(text: str) -> object:
    return text if text == "any-signed" else _peers_from_text(text)


def _trust_to_toml(nodes: tuple[str, ...]) -> object:
    return list(nodes) or "any-signed"


def _mode(value: object) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{3}", value):
        raise ValueError(f'{toml(value)} is not a file mode: write it like "0660"')
    return int(value, 8)


def _mode_to_toml(mode: int) -> str:
    return f"{mode:04o}"


def _duration(value: object) -> float:
    if not isinstance(value, str):
        raise ValueError(f'{toml(value)} is not a duration: write it like "500ms" or "60s"')
    if (seconds := parse_duration(value)) <= 0:
        raise ValueError(f"{value!r} is too short: it must be more than 0")
    return seconds


def _duration_to_toml(seconds: float) -> str:
    return f"{Decimal(repr(seconds)).normalize():f}s"  # no exponent, which could not be read back


def _choice(*allowed: str) -> Kind:
    def read(value: object) -> str:
        if not isinstance(value, str) or value not in allowed:
            words = f"{toml(value)} is not one of {', '.join(allowed)}"
            raise ValueError(words + did_you_mean(value, allowed))
        return value

    return Kind(read, str.lower)


LABEL = Kind(_label)
CLUSTER = Kind(_cluster)
TEXT = Kind(_text)
SWITCH = Kind(_switch, _switch_from_text)
PATH = Kind(_path, _path_from_text, str)
LISTEN = Kind(_listen)
ADVERTISE = Kind(_advertise)
PEERS = Kind(_peers, _peers_from_text, list)
BRIDGES = Kind(_bridges, _bridges_from_text, list)
TYPES = Kind(_types, _peers_from_text, list)
ENFORCE = Kind(_enforce, _peers_from_text, list)
TRUST = Kind(_trust, _trust_from_text, _trust_to_toml)
MODE = Kind(_mode, to_toml=_mode_to_toml)
DURATION = Kind(_duration, to_toml=_duration_to_toml)
SYNC = _choice("off", "normal", "full")
REJOIN = _choice("own", "all", "none")
LEVEL = _choice("debug", "info", "warning", "error")
FORMAT = _choice("auto", "text", "journal", "json")


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the table: a field of Config, its default as TOML holds it, its other names."""

    field: str
    section: str
    key: str
    default: object
    kind: Kind

    @property
    def is_list(self) -> bool:
        """True if its text may have several parts, with commas between them."""
        return self.kind in (PEERS, BRIDGES, TYPES, ENFORCE, TRUST)

    @property
    def word(self) -> str:
        """Its name where the unit is written with the value."""
        return self.field.removesuffix("_s")

    @property
    def flag(self) -> str:
        return "--" + self.word.replace("_", "-")

    @property
    def variable(self) -> str:
        return "SCUTTLED_" + self.word.upper()

    @property
    def path(self) -> str:
        return f"{self.section}.{self.key}"


SETTINGS = (
    Setting("name", "node", "name", "", LABEL),
    Setting("data", "node", "data", "", PATH),
    Setting("types", "node", "types", [], TYPES),
    Setting("cluster", "cluster", "name", "default", CLUSTER),
    Setting("peers", "cluster", "peers", [], PEERS),
    Setting("forget_after_s", "cluster", "forget_after", "7d", DURATION),
    Setting("keep_deleted_s", "cluster", "keep_deleted", "60s", DURATION),
    Setting("rejoin", "cluster", "rejoin", "own", REJOIN),
    Setting("listen", "gossip", "listen", "127.0.0.1:7960", LISTEN),
    Setting("advertise", "gossip", "advertise", "", ADVERTISE),
    Setting("insecure", "gossip", "insecure", False, SWITCH),
    Setting("max_clock_skew_s", "gossip", "max_clock_skew", "60s", DURATION),
    Setting("enforce", "flow", "enforce", ["log", "events"], ENFORCE),
    Setting("memory", "storage", "memory", False, SWITCH),
    Setting("sync", "storage", "sync", "normal", SYNC),
    Setting("socket", "control", "socket", "", PATH),
    Setting("socket_mode", "control", "mode", "0660", MODE),
    Setting("socket_group", "control", "group", "", TEXT),
    Setting("sign", "security", "sign", False, SWITCH),
    Setting("trust", "security", "trust", "any-signed", TRUST),
    Setting("npm", "npm", "listen", [], BRIDGES),
    Setting("npm_connect", "npm", "connect", [], BRIDGES),
    Setting("log_level", "log", "level", "info", LEVEL),
    Setting("log_format", "log", "format", "auto", FORMAT),
)
