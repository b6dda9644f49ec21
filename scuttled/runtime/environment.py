"""The outside world of a daemon, as a short list: time, chance, streams, work beside the loop.

Everything that a daemon takes from the machine it runs on comes through here, so that a simulation
can hand in a machine and a network of its own and run the daemon unchanged.
"""

import gc
import os
import random
from collections.abc import Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from typing import TypeVar

import trio

from scuttled.replica.update import Instant
from scuttled.runtime import systemd
from scuttled.runtime.clocks import read_clocks, read_steady_s
from scuttled.runtime.descriptors import raise_limit
from scuttled.runtime.signals import Signals
from scuttled.runtime.streams import dial, has_address, look_up, open_listeners
from scuttled.runtime.unix_socket import open_control_socket

GC_THRESHOLDS = (20_000, 20, 50)  # slots and log make no cycles, links few

T = TypeVar("T")


class Environment:
    """This machine and its network, as they are."""

    def __init__(self) -> None:
        self.rng: random.Random = random.SystemRandom()
        self.environ: MutableMapping[str, str] = os.environ
        self.inherited = systemd.inherited_sockets(self.environ, os.getpid())
        """The sockets that systemd opened for us; found before trio opens anything."""

    def now(self) -> Instant:
        return read_clocks()

    def steady_s(self) -> float:
        """Seconds that passed since some instant, also while the machine slept."""
        return read_steady_s()

    def boot_id(self) -> str:
        """Tells one start of the machine from another; the same for ever where nobody says."""
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return "unknown"

    def signals(self) -> AbstractContextManager[Signals]:
        """The signals that a daemon heeds, while the context is open."""
        return Signals().installed()

    async def beside(self, work: Callable[..., T], *args: object) -> T:
        """Do what blocks, while the loop goes on; whatever it raises is raised here."""
        return await trio.to_thread.run_sync(work, *args)

    def descriptors(self, wanted: int) -> int:
        """Have so many, if this machine allows; how many of them there are."""
        return raise_limit(wanted)

    def settled(self) -> None:
        """All is loaded, and lives on: no use in looking for garbage in it again and again."""
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)

    # --- streams; who opens one closes it ---

    async def listen(self, address: str) -> list[trio.abc.Listener[trio.abc.Stream]]:
        """Raises CantCreate."""
        return list(await open_listeners(address))

    def open_control(
        self, path: str, mode: int, group: str
    ) -> AbstractAsyncContextManager[trio.abc.Listener[trio.abc.Stream]]:
        """Raises CantCreate, ConfigError."""
        return open_control_socket(path, mode, group)

    async def look_up(self, address: str) -> list[str]:
        """Addresses that it leads to now, as `dial` takes them. Raises OSError, ConfigError."""
        return await look_up(address)

    def has_address(self, host: str) -> bool:
        """True if an address is one of this machine's own."""
        return has_address(host)

    async def dial(self, address: str, *, insecure: bool) -> trio.abc.Stream:
        """Raises OSError, ConfigError."""
        return await dial(address, insecure=insecure)
