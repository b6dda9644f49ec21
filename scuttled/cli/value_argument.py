"""A value as it is given on the command line: an argument, standard input or a file."""

import os

from scuttled.errors import DataError, UsageError


def read_value(key: str, value: str | None, path: str | None) -> bytes:
    """The bytes to store, from the one place that was named."""
    if value is not None and path is not None:
        raise UsageError("VALUE and --file exclude each other")
    if value is None and path is None:
        raise UsageError(
            "VALUE is missing: give it, or - for standard input, or --file PATH",
            hint="scuttled set --help",
        )
    from scuttled.client.client import VALUE_BYTES_MAX

    if value is not None and value != "-":
        content = os.fsencode(value)
    else:
        from scuttled.cli.files import open_to_read, read_all

        name = path or "-"
        with open_to_read(name) as file:
            content = read_all(file, name, VALUE_BYTES_MAX + 1)
    if len(content) > VALUE_BYTES_MAX:
        raise DataError(f"value of {key!r} too large: more than {VALUE_BYTES_MAX} bytes")
    return content


def value_kind(content: bytes, json_value: bool) -> tuple[str, bytes]:
    from scuttled.cli.formatting import kind_of, parse_json

    if not json_value:
        return kind_of(content), content
    if kind_of(content) != "text" or parse_json(content) is None:
        raise DataError("value is not JSON: it was not written")
    return "json", content.strip(b" \t\r\n")  # what JSON allows around a value is not part of it
