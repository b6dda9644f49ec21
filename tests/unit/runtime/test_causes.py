"""What stands within a group of errors, or behind one that trio raised."""

import errno
import os

import pytest
import trio

from scuttled.errors import ConfigError, StorageError
from scuttled.runtime.causes import cause_of, first_error, only_error, words_of

ERROR = StorageError("the disk")


def _group(*errors: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("some", errors)


def test_the_first_error_of_many_is_found_however_deep() -> None:
    assert first_error(_group(_group(ERROR), OSError())) is ERROR
    assert first_error(ERROR) is ERROR


def test_the_only_error_of_a_group_is_found_and_of_several_none_is_chosen() -> None:
    assert only_error(_group(_group(ERROR))) is ERROR
    several = _group(ERROR, OSError())
    assert only_error(_group(several)) is several


def test_of_several_addresses_the_first_one_tells_why_nobody_was_reached() -> None:
    refused = OSError(errno.ECONNREFUSED, "at 10.0.0.1")
    failure = OSError("all attempts failed")
    failure.__cause__ = _group(refused, OSError(errno.ENETUNREACH, "at ::1"))
    assert cause_of(failure) is refused
    assert cause_of(refused) is refused
    assert words_of(failure) == os.strerror(errno.ECONNREFUSED)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EPIPE, "trio names the address here"), os.strerror(errno.EPIPE)),
        (OSError(-2, "Name or service not known"), "Name or service not known"),
        (OSError("db1 leads nowhere"), "db1 leads nowhere"),
        (ConfigError("no port", hint="name one"), "no port"),
        (trio.BrokenResourceError(), "BrokenResourceError"),
    ],
)
def test_an_error_is_told_in_the_words_of_whoever_knows_best(error: Exception, words: str) -> None:
    assert words_of(error) == words
