"""The paper's experiments, run again, with our own order beside its four.

`experiments` has the two that `scuttled simulate --paper` shows. They count copies with numpy
(`copies`, `orders`, `gossip`); `sessions` runs the same timetable of writes and meetings over the
real models, logs and sessions of the core, so that it can be seen that the order which is counted
is the one that is drawn. `spread` needs neither: one write of each of a thousand real replicas.

numpy and matplotlib come with the extra `plot`; nothing of them is imported before it's needed.
                                                          [van Renesse et al. 2008; docs/paper.md]
"""

from collections.abc import Iterator
from contextlib import contextmanager

from scuttled.extras import not_installed

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
