"""A program with the library and a daemon: they share what both have, and neither complains."""

from functools import partial
from pathlib import Path

import trio
from support.fleet import Daemon, Fleet

from scuttled import Log, Map, Replicated, StateDirectory, replicate


async def exchange(state: Path, daemon: Daemon) -> Replicated:
    """A program that starts, adds a key, and ends when both have all."""
    host, _, port = daemon.ask("status")["listen"].rpartition(":")
    with StateDirectory(state) as directory:
        model, log = directory.open(Map, "default"), directory.open(Log, "visits")
        model[f"visit {len(log.items())}"] = model.get("daemon")
        log.append(len(model))
        stream = await trio.open_tcp_stream(host, int(port))
        return await replicate([model, log], stream, tail=False)


def test_a_program_that_comes_and_goes_is_one_source_and_no_warning(
    fleet: Fleet, tmp_path: Path
) -> None:
    daemon = fleet.daemon("a")
    daemon.cli("set", "daemon", "was here")
    for _ in range(5):
        result = trio.run(partial(exchange, tmp_path / "program", daemon))
        assert result.synced
        assert result.left_out == {}
    assert daemon.text("ls").splitlines() == ["daemon", *(f"visit {n}" for n in range(5))]
    assert daemon.text("get", "visit 4") == "was here"
    assert len(daemon.text("-m", "visits", "get").split(",")) == 5
    info = daemon.ask("model_info", model="default")
    assert info["keys"] == 6
    assert "warning" not in daemon.log()


def test_a_daemon_is_seen_by_the_event_of_a_key_and_null_is_not_deleted(fleet: Fleet) -> None:
    daemon = fleet.daemon("a")
    told: list[object] = []

    async def watch() -> None:
        model, came = Map("default"), [trio.Event(), trio.Event()]

        def tell(value: object) -> None:
            came[len(told)].set()
            told.append(value)

        model.on("change:k", tell)
        host, _, port = daemon.ask("status")["listen"].rpartition(":")
        stream = await trio.open_tcp_stream(host, int(port))
        synced = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(replicate, model, stream, on_synced=synced.set))
            with trio.fail_after(60):
                await synced.wait()
                await trio.to_thread.run_sync(
                    lambda: daemon.cli("set", "--json-value", "k", "null")
                )
                await came[0].wait()
                await trio.to_thread.run_sync(lambda: daemon.cli("del", "k"))
                await came[1].wait()
            model.dispose()

    trio.run(watch)
    assert [repr(value) for value in told] == ["None", "GONE"]
