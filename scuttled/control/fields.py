"""Fields of a request, read one by one; what is not of its type is a UsageError that shows it."""

from collections.abc import Mapping
from typing import Any

from scuttled.errors import UsageError

Fields = Mapping[str, Any]


def text(fields: Fields, name: str, default: str | None = None) -> str:
    value = fields.get(name, default)
    if not isinstance(value, str):
        raise UsageError(f"{name} {value!r:.60}, expected text")
    return value


def number(fields: Fields, name: str, default: int, most: int = 2**63) -> int:
    value = fields.get(name, default)
    # True is an int to isinstance, and a number to nobody.
    if type(value) is not int or not 0 <= value <= most:
        raise UsageError(f"{name} {value!r:.60}, expected a whole number from 0 to {most}")
    return value


def flag(fields: Fields, name: str) -> bool:
    """A switch; off, if nothing is said of it."""
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise UsageError(f"{name} {value!r:.60}, expected true or false")
    return value
