"""The way in: runs a command and turns whatever happens into words and an exit code.

No traceback reaches a user but with -vv. Imports wait until main() is running, so that Ctrl-C
is answered from the first moment on. SIGTERM and SIGHUP end a command as Ctrl-C does: whatever it
has begun is tidied up. The module `_signal` is used instead of `signal`: with the names that the
latter makes of all numbers a command takes 0.3 ms longer.
"""

import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn, TextIO

if TYPE_CHECKING:
    import click

    from scuttled.cli.settings import Settings
    from scuttled.errors import ScuttledError

_ENDING = (1, 15)  # SIGHUP, SIGTERM
_INTERRUPTED = 128 + 2  # by SIGINT, as shells name it
_PIPE_CLOSED = 128 + 13  # by SIGPIPE


def main() -> NoReturn:
    """Runs the command line of this process."""
    _fill_gaps()
    try:
        _heed_signals()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    code = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # run() said it, if there was anybody to say it to
            _to_nowhere(stream)
        except AttributeError:
            pass  # one that was closed from the start is None
    sys.exit(code)


def _fill_gaps() -> None:
    """Of descriptors 0 to 2. One that is closed would be given to the next file or socket, and
    whoever writes to what he takes for standard error would write into that.
    """
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if stream is None:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def _heed_signals() -> None:
    """Makes an exception of the first of these signals; nohup's wish to ignore one is heeded.

    Those that follow are ignored, or they would break into the tidying up.
    """
    import _signal  # type: ignore[import-not-found]

    from scuttled.errors import Stopped

    def end(number: int, frame: object) -> None:
        for each in _ENDING:
            _signal.signal(each, _signal.SIG_IGN)
        raise Stopped(number)

    for number in _ENDING:
        if _signal.getsignal(number) is _signal.SIG_DFL:
            _signal.signal(number, end)


def run(args: Sequence[str]) -> int:
    """Runs one command and gives its exit code. Writes to stdout and stderr, never raises."""
    try:
        from scuttled.errors import Stopped

        try:
            return _run(list(args))
        except Stopped as stop:  # what is still to be written might wait for a reader for ever
            _to_nowhere(sys.stdout)
            return stop.code
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # `ls | head -1`: the reader has what it wanted
        _to_nowhere(sys.stdout)
        return _PIPE_CLOSED


def _run(args: list[str]) -> int:
    from scuttled.cli.settings import Settings
    from scuttled.errors import ScuttledError, Stopped

    settings = Settings()
    try:
        code = _invoke(args, settings)
        if code:
            _tell_end(code, args, settings)
        return code or _flush(args, settings)
    except (ScuttledError, KeyboardInterrupt, BrokenPipeError) as error:
        _flush(args, settings)  # what was found before it went wrong belongs to the answer
        if isinstance(error, ScuttledError):
            return _tell(error, args, settings)
        if isinstance(error, KeyboardInterrupt):
            _tell_end(_INTERRUPTED, args, settings)
        raise
    except Stopped as stop:
        _tell_end(stop.code, args, settings)
        raise
    except Exception as error:
        return _tell_bug(error, args, settings)


def _invoke(args: list[str], settings: "Settings") -> int:
    """Runs the command; click's own endings become codes and errors of ours."""
    import click

    from scuttled.cli.cli import cli
    from scuttled.errors import Unavailable, UsageError

    completion = os.environ.get("_SCUTTLED_COMPLETE")
    if completion:
        from scuttled.cli.commands.completion import complete

        return complete(cli, completion, settings)
    try:
        with cli.make_context("scuttled", args, obj=settings) as ctx:
            cli.invoke(ctx)
        return 0
    except click.exceptions.Exit as ending:
        return ending.exit_code
    except click.Abort:
        return _INTERRUPTED
    except click.UsageError as error:
        raise UsageError(_sentence(error.format_message()), hint=_usage_hint(error)) from None
    except click.ClickException as error:
        raise UsageError(_sentence(error.format_message()), code=error.exit_code) from None
    except OverflowError:
        if _can_tell_time():
            raise
        words = "the wall clock of this machine stands beyond the year 2262"
        # Not 78, at which systemd would not try again once the clock is set.
        raise Unavailable(words, hint="set it, and have NTP keep it: timedatectl") from None


def _can_tell_time() -> bool:
    """Python counts nanoseconds in 63 bits: beyond 2262 not even its logging can be imported."""
    try:
        time.time()
    except OverflowError:
        return False
    return True


def _sentence(text: str) -> str:
    """click's sentences, as ours are: one line, no capital, no full stop."""
    text = " ".join(text.split()).rstrip(".")
    return text[:1].lower() + text[1:]


def _usage_hint(error: "click.UsageError") -> str:
    return f"{error.ctx.command_path} --help" if error.ctx else "scuttled --help"


def _flush(args: list[str], settings: "Settings") -> int:
    """Sends stdout out while we can still say that it failed."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
        return 0
    except BrokenPipeError:
        raise
    except OSError as error:
        from scuttled.errors import StorageError

        _to_nowhere(sys.stdout)
        return _tell(StorageError(f"answer not written: {error.strerror}"), args, settings)


def _tell(error: "ScuttledError", args: list[str], settings: "Settings") -> int:
    from scuttled.cli import failures

    if settings.verbose > 1:
        _traceback()
    failures.tell(error, settings, json=failures.wants_json(args, settings))
    return error.code


def _tell_end(code: int, args: list[str], settings: "Settings") -> None:
    from scuttled.cli import failures

    failures.tell_end(code, json=failures.wants_json(args, settings))


def _tell_bug(error: Exception, args: list[str], settings: "Settings") -> int:
    from scuttled.errors import SOFTWARE, ScuttledError

    words = f"a bug: {type(error).__name__}: {error}"
    hint = "" if settings.verbose > 1 else "run it again with -vv and report what it says"
    return _tell(ScuttledError(words, code=SOFTWARE, hint=hint), args, settings)


def _traceback() -> None:
    import traceback

    traceback.print_exc()


def _to_nowhere(stream: "TextIO | None") -> None:
    """Whatever is still buffered goes nowhere quietly when the interpreter ends."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())  # type: ignore[union-attr]
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):
        pass


if __name__ == "__main__":
    main()
