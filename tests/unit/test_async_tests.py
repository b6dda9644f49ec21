"""What tests of the shell may count on."""

from pathlib import Path

import trio


async def test_an_async_test_runs_under_trio_and_sleeping_takes_no_time(tmp_path: Path) -> None:
    before = trio.current_time()
    with trio.fail_after(7200):
        await trio.sleep(3600)
    assert trio.current_time() - before >= 3600
    assert tmp_path.name.startswith("test_an_async_test")
