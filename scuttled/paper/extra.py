"""The extra `plot`: numpy and matplotlib, asked for when they are needed."""

from collections.abc import Iterator
from contextlib import contextmanager

from scuttled.errors import not_installed

EXTRA = {"numpy", "matplotlib"}


@contextmanager
def extra_plot() -> Iterator[None]:
    """Around imports that need the extra. Raises Unavailable, naming it."""
    try:
        yield
    except ImportError as error:
        if (error.name or "").split(".")[0] not in EXTRA:
            raise
        what = "the paper's experiment"
        raise not_installed(what, "plot", lacking=error.name or "") from None
