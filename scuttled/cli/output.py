"""Answers on stdout: as exact bytes, tab-separated lines, tables or JSON lines.

stdout is the answer and nothing else; `say` is for people and writes to stderr. Whatever is
written may hold what another node said, so this is the one place where it is made harmless: cells
of tables, fields of lines, sentences and JSON. Only `write` takes a text as it is.
"""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence

from scuttled.errors import StorageError
from scuttled.printable import one_line

_CELL_WIDTH_MIN = 8  # no column of a table is cut below this
_CHARS_PER_COLUMN_MAX = 6  # a letter and its marks, in any script that is written
_GAP = 2
_LABEL_WIDTH = 9
_NOTE_INDENT = 4
_NOTE_WIDTH = 100  # where no terminal says
_NOTE_WIDTH_MIN = 40


def is_tty() -> bool:
    """True if a person reads the answer."""
    return sys.stdout is not None and sys.stdout.isatty()


def is_watched() -> bool:
    """True if a person reads our messages."""
    return sys.stderr is not None and sys.stderr.isatty()


def write(data: bytes | str) -> None:
    """Part of the answer, as it is. A reader that went away is a BrokenPipeError, for main()."""
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogateescape")
    try:
        if sys.stdout is None:
            raise OSError("standard output is closed")
        sys.stdout.buffer.write(data)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(f"answer not written: {error.strerror or error}") from error


def flush() -> None:
    """The answer up to here, before a message that is about it."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StorageError(f"answer not written: {error.strerror or error}") from error


def emit(fields: Mapping[str, object]) -> None:
    """One line of JSON."""
    write(json_line(fields))


def json_line(fields: Mapping[str, object]) -> str:
    """The line that `emit` writes: every object says which version of our words it speaks."""
    from scuttled.cli.formatting import dump_json, json_safe  # not for every `get`: it costs more

    return json_safe(dump_json({"v": 1, **fields})) + "\n"


def plain_line(columns: Iterable[object]) -> str:
    """One line for programs: escaped, separated by tabs; what is unknown is empty."""
    from scuttled.cli.formatting import escape

    return "\t".join("" if c is None else escape(_text(c)) for c in columns) + "\n"


def line(sentence: str) -> None:
    """A line of the answer for people."""
    write(one_line(sentence) + "\n")


def fact(label: str, sentence: str) -> None:
    """A labelled line of the answer, for people; one that is too long goes on below itself."""
    from textwrap import wrap

    room = max((width() or 1 << 20) - _LABEL_WIDTH, _NOTE_WIDTH_MIN)
    parts = wrap(
        one_line(sentence),
        room,
        drop_whitespace=True,
        break_long_words=False,
        break_on_hyphens=False,
    )
    for number, part in enumerate(parts or [""]):
        front = label if number == 0 else ""
        write(f"{front:<{_LABEL_WIDTH}}{part}".rstrip() + "\n")


def _text(value: object) -> bytes | str:
    return value if isinstance(value, bytes | str) else f"{value}"


def say(text: str) -> None:
    """A message for people, in one line. A stderr that is gone is no reason to stop."""
    show(one_line(text))


def show(text: str) -> None:
    """A text of our own, of several lines, for people: help."""
    if sys.stderr is None:  # closed from the start; print() would take stdout instead
        return
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:
        pass


def counted(count: int) -> str:
    """`1 key`, `60,000 keys`."""
    return "1 key" if count == 1 else f"{count:,} keys"


def width() -> int | None:
    """Columns of the terminal on stdout; None if it is not one."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError, AttributeError):
        return None


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[bytes | str]],
    *,
    columns: int | None,
    styles: Mapping[str, str] | None = None,
    notes: Sequence[Sequence[str]] = (),
) -> str:
    """Aligned text with a header, cut with … where it is wider than `columns`. Cells are escaped.

    `notes` are lines below each row, wrapped and not cut.

    `styles` gives the colour (SGR numbers) of cells that hold exactly these words; None: no colour.
    """
    from scuttled.cli.formatting import escape

    escaped = [list(header), *([escape(cell) for cell in row] for row in rows)]
    widths = [max(map(span, cells)) for cells in zip(*escaped, strict=True)]
    _shrink(widths, columns)
    lines = []
    for number, row in enumerate(escaped):
        cells = [_pad(cell, size) for cell, size in zip(row, widths, strict=True)]
        cells[-1] = cells[-1].rstrip()
        if styles is not None:
            shown = ("1",) * len(row) if number == 0 else tuple(styles.get(c) for c in row)
            cells = [_paint(c, style) for c, style in zip(cells, shown, strict=True)]
        lines.append((" " * _GAP).join(cells).rstrip() + "\n")
        if number and number <= len(notes):
            lines += [_below(note, columns) for note in notes[number - 1]]
    return "".join(lines)


def _below(note: str, columns: int | None) -> str:
    """A sentence below the row that it is about."""
    from textwrap import fill

    from scuttled.cli.formatting import escape

    width = max((columns or _NOTE_WIDTH) - 1, _NOTE_WIDTH_MIN)
    indent = " " * _NOTE_INDENT
    return fill(escape(note), width, initial_indent=indent, subsequent_indent=2 * indent) + "\n"


def _shrink(widths: list[int], columns: int | None) -> None:
    """Takes from the widest column until the row fits, or nothing more can be taken."""
    if columns is None:
        return
    over = sum(widths) + _GAP * (len(widths) - 1) - columns
    while over > 0:
        widest = max(range(len(widths)), key=widths.__getitem__)
        others = [size for size in widths if size < widths[widest]]
        least = max([_CELL_WIDTH_MIN, *others])
        cut = min(over, max(widths[widest] - least, 1))
        if widths[widest] <= _CELL_WIDTH_MIN:
            return
        widths[widest] -= cut
        over -= cut


def _pad(cell: str, size: int) -> str:
    cell = cut(cell, size)
    return cell + " " * (size - span(cell))


def cut(cell: str, size: int) -> str:
    """At most so many columns of it; the last one is … where something is missing."""
    if len(cell) <= _CHARS_PER_COLUMN_MAX * size and span(cell) <= size:
        return cell
    # Before the loop looks at every character of half a megabyte; and marks beyond number, which
    # take no column, would be drawn over the lines above.
    cell = cell[: _CHARS_PER_COLUMN_MAX * size]
    while span(cell) > size - 1:
        cell = cell[:-1]
    return cell + "…"


def span(cell: str) -> int:
    """Columns on a terminal: wide and combining characters count as terminals count them."""
    if cell.isascii():
        return len(cell)
    from unicodedata import category, east_asian_width

    return sum(
        0 if category(c) in ("Mn", "Me") else 2 if east_asian_width(c) in "WF" else 1 for c in cell
    )


def _paint(cell: str, style: str | None) -> str:
    return f"\x1b[{style}m{cell}\x1b[0m" if style else cell
