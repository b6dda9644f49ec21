"""A wall clock for one daemon, that is wrong, and can be set while it runs (libfaketime)."""

import os
from pathlib import Path

import pytest

LIBRARY = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)

needs_faketime = pytest.mark.skipif(
    LIBRARY is None and not os.environ.get("CI"), reason="needs libfaketime (apt: faketime)"
)


class WallClock:
    """A wall clock that can be set while its daemon runs. Its monotonic clock is left alone."""

    def __init__(self, path: Path, offset: str) -> None:
        assert LIBRARY is not None, "libfaketime is missing (apt: faketime)"
        self._path = path
        self.set(offset)
        self.environ = {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def set(self, offset: str) -> None:
        """`+62s`, `-1h`, `+0s`, `@1970-01-01 00:00:10`: at once, never half of it in the file."""
        new = self._path.with_suffix(".new")
        new.write_text(f"{offset}\n")
        new.replace(self._path)
