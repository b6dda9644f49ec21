"""Configuration of the daemon: one table of settings, read from four places.

A flag wins over an environment variable, that over the configuration file, that over the default,
and nobody is told unless they ask (`config show --origin`). So every value keeps its origin. A
mistake is an error with file, line, key, what was seen and what is allowed; none is passed over,
not even in a place that is overruled: a daemon that starts without its peers looks healthy.

platformdirs and tomllib live in this room only.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from scuttled.config.address import PORT, Address, is_loopback, parse_address
from scuttled.config.file import FileSetting, read_file, template
from scuttled.config.locations import NO_HOME, default_place, find_file, paths
from scuttled.config.settings import SETTINGS, TYPES_KNOWN, Setting, did_you_mean, toml
from scuttled.errors import ConfigError, ScuttledError, UsageError

__all__ = [
    "PORT",
    "SETTINGS",
    "Address",
    "Config",
    "Loaded",
    "check_listen",
    "is_loopback",
    "load",
    "parse_address",
    "paths",
    "template",
]

SOCKET_PATH_BYTES_MAX = 107  # sun_path holds 108, the last of them NUL

_NO_FLAGS: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Every setting, resolved: nothing here still means "find out"."""

    name: str
    data: Path
    socket: str
    cluster: str = "default"
    peers: tuple[str, ...] = ()
    listen: str = "127.0.0.1:7960"
    advertise: str = ""
    insecure: bool = False
    max_clock_skew_s: float = 60.0
    forget_after_s: float = 7 * 86_400.0
    keep_deleted_s: float = 60.0
    rejoin: str = "own"
    enforce: tuple[str, ...] = ("log", "events")
    memory: bool = False
    sync: str = "normal"
    socket_mode: int = 0o660
    socket_group: str = ""
    types: tuple[str, ...] = ()
    sign: bool = False
    trust: tuple[str, ...] = ()
    npm: tuple[str, ...] = ()
    npm_connect: tuple[str, ...] = ()
    log_level: str = "info"
    log_format: str = "auto"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration and where each part of it came from."""

    config: Config
    path: str | None  # the file that was read
    origins: Mapping[str, str]  # of each field of Config

    def settings(self) -> list[tuple[str, str, str]]:
        """(key, value as TOML, origin) of every setting, in the order of the table."""
        return [
            (
                setting.path,
                toml(setting.kind.to_toml(getattr(self.config, setting.field))),
                self.origins[setting.field],
            )
            for setting in SETTINGS
        ]


def load(
    environ: Mapping[str, str],
    *,
    file: str | None = None,
    flags: Mapping[str, object] = _NO_FLAGS,
) -> Loaded:
    """The configuration in force.

    `flags` go by their names, `-` written `_`; None, False and () count as not given. A text that
    is empty does not, be it a flag's or a variable's: whoever wrote it meant something else than
    the default. Raises ConfigError, UsageError.
    """
    unknown = flags.keys() - {setting.word for setting in SETTINGS}
    if unknown:
        raise TypeError(f"no setting has the flags {sorted(unknown)}")
    path = find_file(environ, file)
    written = read_file(path) if path else {}
    chosen = {
        setting.field: _resolve(setting, environ, _said(setting, environ, flags, written))
        for setting in SETTINGS
    }
    _check_data(chosen["data"], chosen["memory"])
    _check_socket(chosen["socket"])
    _check_enforce(chosen["enforce"], chosen["types"])
    data = Path(chosen["data"].value)
    return Loaded(
        Config(**{field: choice.value for field, choice in chosen.items()} | {"data": data}),
        path,
        {field: choice.origin for field, choice in chosen.items()},
    )


def check_listen(config: Config) -> None:
    """Refuses plain TCP beyond this machine unless it is asked for by name. Raises ConfigError."""
    for address in (config.listen, *(text.partition("=")[0] for text in config.npm)):
        if not config.insecure and not is_loopback(parse_address(address).host):
            raise ConfigError(
                f"can't listen on {address}: links are plain TCP, TLS does not exist yet",
                hint="add --insecure to listen on plain TCP, or listen on 127.0.0.1",
            )


class _Choice(NamedTuple):
    value: Any
    origin: str


def _said(
    setting: Setting,
    environ: Mapping[str, str],
    flags: Mapping[str, object],
    written: Mapping[str, FileSetting],
) -> Iterator[tuple[object, str]]:
    """Everything that was said about one setting, the strongest word last, and by whom."""
    yield setting.default, "default"
    entry = written.get(setting.path)
    if entry is not None:
        yield entry.value, f"file {entry.place}"
    text = environ.get(setting.variable)
    if text is not None:
        _check_not_blank(setting, setting.variable, text, f"unset {setting.variable}")
        yield _from_text(setting, text.strip(), setting.variable), f"environment {setting.variable}"
    flag = flags.get(setting.word)
    if isinstance(flag, str | list | tuple) or flag:
        yield from ((value, f"flag {setting.flag}") for value in _flag_values(setting, flag))


def _flag_values(setting: Setting, flag: object) -> Iterator[object]:
    """The one value of a flag; none if it may be repeated and was not given once."""
    if isinstance(flag, bool):
        yield flag
        return
    texts: list[str] = []
    if isinstance(flag, str):
        texts = [flag]
    elif isinstance(flag, Iterable):
        texts = list(flag)
    for text in texts:
        _check_not_blank(setting, setting.flag, text, "scuttled serve --help")
    if texts:
        yield _from_text(setting, ",".join(texts), setting.flag)


def _from_text(setting: Setting, text: str, where: str) -> object:
    try:
        return setting.kind.from_text(text)
    except ValueError as error:
        raise ConfigError(f"{where}: {setting.path}: {error}") from error


def _check_not_blank(setting: Setting, name: str, text: str, hint: str) -> None:
    """Nor may any part of a list be empty, but for what is behind a last comma."""
    parts = text.rstrip().removesuffix(",").split(",") if setting.is_list else [text]
    if not all(part.strip() for part in parts):
        empty = f"{text!r:.200}" if text.strip(" ,\t\n") else f"{text!r:.40}, which names nothing"
        raise UsageError(f"{name} is {empty}: a variable that is not set?", hint=hint)


def _resolve(
    setting: Setting, environ: Mapping[str, str], said: Iterator[tuple[object, str]]
) -> _Choice:
    """All of it is read, so that a mistake shows; the last one counts."""
    *_, choice = [_Choice(_read(setting, value, origin), origin) for value, origin in said]
    if choice.value != "":
        return choice
    # Nobody named a place, so where it lies depends on the machine.
    place = default_place(setting.field, environ)
    return _Choice(*place) if place else choice


def _read(setting: Setting, value: object, origin: str) -> object:
    try:
        return setting.kind.read(value)
    except (ValueError, ScuttledError) as error:
        where = origin.removeprefix("file ").removeprefix("flag ")
        raise ConfigError(f"{where}: {setting.path}: {error}") from error


def _check_enforce(choice: _Choice, types: _Choice) -> None:
    """Types of one's own are known by name only when their modules are imported."""
    for name in choice.value:
        if name not in TYPES_KNOWN and not types.value:
            words = f"{name!r} is not one of {', '.join(TYPES_KNOWN)}"
            where = choice.origin.removeprefix("file ")
            near = did_you_mean(name, TYPES_KNOWN)
            raise ConfigError(f"{where}: flow.enforce: {words}{near}")


def _check_data(choice: _Choice, memory: _Choice) -> None:
    """Without a home there is no place for it; who keeps nothing on disk needs none."""
    if not choice.value and not memory.value:
        raise ConfigError(
            f"node.data: no place for the state: {NO_HOME}",
            hint="name one with --data DIR, or set HOME",
        )


def _check_socket(choice: _Choice) -> None:
    size = len(choice.value.encode("utf-8", "surrogateescape"))
    if size > SOCKET_PATH_BYTES_MAX:
        raise ConfigError(
            f"control.socket ({choice.origin}): {choice.value!r} has {size} bytes, "
            f"the path of a Unix socket at most {SOCKET_PATH_BYTES_MAX}",
            hint="name a shorter one with --socket or $SCUTTLED_SOCKET",
        )
