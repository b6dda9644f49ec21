"""Causes of errors: what stands within a group of them, or behind one that trio raised."""

import os

from scuttled.errors import ConfigError


def first_error(error: BaseException) -> BaseException:
    """The first error of a group, however deep; one that is no group is itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def only_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error in a group; the innermost group that has several."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def cause_of(error: BaseException) -> BaseException:
    """The error of the first of several addresses at which a connection was tried."""
    while isinstance(error, OSError) and isinstance(error.__cause__, BaseExceptionGroup):
        error = error.__cause__.exceptions[0]
    return error


def words_of(error: BaseException) -> str:
    """The kernel's own words where there are any: trio's name the address, which is said anyway."""
    error = cause_of(error)
    if isinstance(error, ConfigError):
        return error.message
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)  # a resolver's own numbers are negative
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
