"""The one family of errors.

Every error carries the exit code that a command ends with, its words, and, where something helps,
a hint that can be pasted. The control protocol sends the same three, so text and code come from
one place. Codes are those of sysexits.h; 1 is "no", 2 is usage.
"""

import sys

NO = 1
USAGE = 2
DATAERR = 65
NOINPUT = 66
UNAVAILABLE = 69
SOFTWARE = 70
CANTCREAT = 73
IOERR = 74
TEMPFAIL = 75
PROTOCOL = 76
NOPERM = 77
CONFIG = 78
INTERRUPTED = 130
SIGNALLED = 128  # and the signal's number: so shells name an end by a signal


class ScuttledError(Exception):
    """Something the user is told about. Unless a subclass says otherwise, nothing was changed."""

    code: int = SOFTWARE

    def __init__(self, message: str, *, code: int | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code


class Refused(ScuttledError):
    """No: no such key, model or peer, or a condition that does not hold."""

    code = NO


class UsageError(ScuttledError):
    """The caller asked in a form that can't be understood."""

    code = USAGE


class DataError(ScuttledError):
    """A key, value or file that is too large, damaged or not of the expected form."""

    code = DATAERR


class NoInput(ScuttledError):
    """A file that was to be read is not there or can't be read."""

    code = NOINPUT


class Unavailable(ScuttledError):
    """The daemon is not reachable, or an extra is not installed."""

    code = UNAVAILABLE


class CantCreate(ScuttledError):
    """A file, socket or address that was to be made could not be made."""

    code = CANTCREAT


class StorageError(ScuttledError):
    """Reading or writing a file failed. What was acknowledged before is not affected."""

    code = IOERR


class TimedOut(ScuttledError):
    """The time that the caller gave is over; what was asked may still come true."""

    code = TEMPFAIL


class NoCommonProtocol(ScuttledError):
    """Client and daemon share no version of the control protocol."""

    code = PROTOCOL


class NotPermitted(ScuttledError):
    """The kernel or the daemon does not let this user do that."""

    code = NOPERM


class ConfigError(ScuttledError):
    """A setting that is unknown, malformed or unsafe."""

    code = CONFIG


class RemoteProtocolError(ScuttledError):
    """The other end broke the protocol. Its connection is closed; nothing it said was kept."""

    code = PROTOCOL


class TooManySources(RemoteProtocolError):
    """More sources than a clock can have. That model stops on that link; the link stays."""

    def __init__(self, model: str, message: str) -> None:
        super().__init__(message)
        self.model = model


class Stopped(BaseException):
    """A signal asked the command to end. Not an Exception: nothing but its way out handles it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = SIGNALLED + number


def not_installed(what: str, extra: str, *, lacking: str = "") -> Unavailable:
    """The error for something that needs an extra; `lacking` is the module that is not there.

    `pip install 'scuttled[secure]'` would be the usual hint, but it asks a package index for
    scuttled, which need not be on any. What an extra stands for is told by the installed package
    itself, so the hint names just that, and the Python that is to have it.
    """
    from shlex import join  # most commands end without an error

    module = f" ({lacking})" if lacking else ""
    words = f"{what} needs the extra '{extra}', which is not installed{module}"
    wanted = _requirements(extra)
    hint = join([sys.executable or "python3", "-m", "pip", "install", *wanted]) if wanted else ""
    return Unavailable(words, hint=hint)


def _requirements(extra: str) -> list[str]:
    """`cryptography>=42` for `secure`; nothing if scuttled runs without being installed."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        every = requires("scuttled") or []
    except PackageNotFoundError:
        return []
    found = (line.replace('"', "'").partition(";") for line in every)
    return [needed.strip() for needed, _, when in found if f"extra == '{extra}'" in when]
