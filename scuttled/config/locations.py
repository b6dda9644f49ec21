"""Places of the state, the control socket and the configuration file, when nobody named one.

A system daemon is told by systemd; a user's daemon follows the XDG directories by way of
platformdirs, which asks the process's own environment.
"""

import os
import socket
import stat
from collections.abc import Callable, Mapping

import platformdirs

from scuttled.config.file import FILE_NAME
from scuttled.config.settings import LABEL_CHARS_MAX
from scuttled.errors import ConfigError, UsageError

NO_HOME = "HOME is not set, and this user has no home"
SYSTEM_SOCKET = "/run/scuttled/control.sock"  # where a client looks last
SITE_FILE = f"/etc/scuttled/{FILE_NAME}"  # platformdirs would say /etc/xdg


def find_file(environ: Mapping[str, str], named: str | None) -> str | None:
    """The configuration file to read, or None if there is none.

    One that was named must be there. Of the default ones the first counts, and one that is there
    but out of reach counts too, so that reading it says so. Raises ConfigError.
    """
    if named is None:
        named = environ.get("SCUTTLED_CONFIG")
    if named is not None:
        if not named.strip():
            words = f"{named!r} is no configuration file: a variable that is not set?"
            raise UsageError(words, hint="scuttled config paths")
        if not _may_exist(named):
            raise ConfigError(f"{named}: no such file")
        return named
    return next(filter(_may_exist, _default_files(environ)), None)


def default_place(field: str, environ: Mapping[str, str]) -> tuple[str, str] | None:
    """(value, origin) for a setting whose "" means: find out."""
    match field:
        case "name":
            return _host_name(), "default"
        case "data":
            return _state_directory(environ)
        case "socket":
            return _control_socket(environ)
        case _:
            return None


def _host_name() -> str:
    """This machine's name, as far as a node may have it: the kernel takes any bytes for one."""
    host = socket.gethostname().partition(".")[0][:LABEL_CHARS_MAX]
    named = "".join(c if c.isprintable() and not c.isspace() else "-" for c in host)
    return named or "node"


def paths(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """(what, path) of every place that is looked at, whether or not anything is there."""
    named = environ.get("SCUTTLED_CONFIG")
    data = environ.get("SCUTTLED_DATA") or _state_directory(environ)[0]
    control = environ.get("SCUTTLED_SOCKET") or _control_socket(environ)[0]
    return [
        *(("config file", path) for path in ([named] if named else _default_files(environ))),
        ("data", data),
        ("control socket", control),
    ]


def _default_files(environ: Mapping[str, str]) -> list[str]:
    given = _given_directory(environ, "CONFIGURATION_DIRECTORY")
    user = _of_user(platformdirs.user_config_dir)
    files = [os.path.join(directory, FILE_NAME) for directory in (given, user) if directory]
    return list(dict.fromkeys([*files, SITE_FILE]))


def _state_directory(environ: Mapping[str, str]) -> tuple[str, str]:
    if given := _given_directory(environ, "STATE_DIRECTORY"):
        return given, "environment STATE_DIRECTORY"
    return _of_user(platformdirs.user_state_dir), "default"


def _control_socket(environ: Mapping[str, str]) -> tuple[str, str]:
    """A place where a client looks, too; so never in platformdirs' fallback, which follows TMPDIR.

    It tries all of these in turn: so what can't be written to is passed over.
    """
    if given := _given_directory(environ, "RUNTIME_DIRECTORY"):
        return os.path.join(given, "control.sock"), "environment RUNTIME_DIRECTORY"
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if _is_private(runtime) and _may_write(runtime, "scuttled"):
        return os.path.join(runtime, "scuttled", "control.sock"), "default"
    state = _of_user(platformdirs.user_state_dir)
    return os.path.join(state, "run", "control.sock") if state else SYSTEM_SOCKET, "default"


def _of_user(find: Callable[..., str]) -> str:
    """A directory of this user's, or "" if there is no home to look for it in.

    Without one platformdirs raises, or, before 4.5, gives a path that begins with `~`.
    """
    try:
        path = find("scuttled", appauthor=False)
    except RuntimeError:
        return ""
    return path if os.path.isabs(path) else ""


def _given_directory(environ: Mapping[str, str], variable: str) -> str:
    """The first of the directories systemd made for this unit, or "". Colons separate them."""
    return environ.get(variable, "").partition(":")[0]


def _is_private(directory: str) -> bool:
    """True of a real directory that only we can enter, as XDG wants its runtime directory."""
    try:
        status = os.lstat(directory)
    except OSError:
        return False
    ours = status.st_uid == os.getuid() and not stat.S_IMODE(status.st_mode) & 0o077
    return ours and stat.S_ISDIR(status.st_mode) and os.path.isabs(directory)


def _may_write(directory: str, name: str) -> bool:
    """True if a file can be made in the directory of that name in there, which we may make."""
    inner = os.path.join(directory, name)
    return os.access(inner if os.path.isdir(inner) else directory, os.W_OK | os.X_OK)


def _may_exist(path: str) -> bool:
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
