"""Extras of the package: what to say when one is needed that is not installed.

`pip install 'scuttled[secure]'` would be the usual hint, but it asks a package index for scuttled,
which need not be on any. What an extra stands for is told by the installed package itself, so the
hint names just that, and the Python that is to have it: it works as it stands.
"""

import sys
from importlib.metadata import PackageNotFoundError, requires
from shlex import join

from scuttled.errors import Unavailable


def not_installed(what: str, extra: str, *, lacking: str = "") -> Unavailable:
    """The error for something that needs an extra; `lacking` is the module that is not there."""
    module = f" ({lacking})" if lacking else ""
    words = f"{what} needs the extra '{extra}', which is not installed{module}"
    wanted = _requirements(extra)
    hint = join([sys.executable or "python3", "-m", "pip", "install", *wanted]) if wanted else ""
    return Unavailable(words, hint=hint)


def _requirements(extra: str) -> list[str]:
    """`cryptography>=42` for `secure`; nothing if scuttled runs without being installed."""
    try:
        every = requires("scuttled") or []
    except PackageNotFoundError:
        return []
    found = (line.replace('"', "'").partition(";") for line in every)
    return [needed.strip() for needed, _, when in found if f"extra == '{extra}'" in when]
