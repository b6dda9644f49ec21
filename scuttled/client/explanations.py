"""Explanations for a client: when no daemon can be reached, and when the daemon says no.

Apart from `client`, which every command loads, since most commands never get here.
"""

import errno

from scuttled import errors
from scuttled.errors import (
    NotPermitted,
    RemoteProtocolError,
    ScuttledError,
    TimedOut,
    Unavailable,
)

_ERRORS: dict[int, type[ScuttledError]] = {
    kind.code: kind
    for kind in (
        errors.Refused,
        errors.UsageError,
        errors.DataError,
        errors.NoInput,
        errors.Unavailable,
        errors.CantCreate,
        errors.StorageError,
        errors.TimedOut,
        errors.NoCommonProtocol,
        errors.NotPermitted,
        errors.ConfigError,
    )
}


_WHY = {
    errno.ENOENT: "absent",
    errno.ENOTDIR: "absent",
    errno.ECONNREFUSED: "refused: nobody listens",
    errno.EACCES: "not permitted",
    errno.EPERM: "not permitted",
    errno.EAGAIN: "busy: took no connection in time",
}


def unreachable(tried: list[tuple[str, OSError]]) -> ScuttledError:
    """The one error for all paths: a socket one may not use is worth more than absent ones."""
    whys = [f"{path} ({_WHY.get(error.errno or 0, error.strerror)})" for path, error in tried]
    message = f"daemon not reachable: tried {', '.join(whys)}"
    seen = {error.errno for _, error in tried}
    if seen & {errno.EACCES, errno.EPERM}:
        return NotPermitted(message, hint="sudo usermod -aG scuttled $USER, then log in again")
    if errno.EAGAIN in seen:
        return TimedOut(message)
    return Unavailable(message, hint="scuttled serve")


def from_daemon(error: object) -> ScuttledError:
    """The error that the daemon meant, as the class of its code."""
    if not isinstance(error, dict) or not isinstance(error.get("code"), int):
        return RemoteProtocolError(f"daemon sent an error of no known form: {error!r}")
    code = error["code"]
    kind = _ERRORS.get(code, ScuttledError)
    return kind(str(error.get("message")), code=code, hint=str(error.get("hint") or ""))
