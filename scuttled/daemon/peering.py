"""Peers of a running daemon, as people add them and take them back: `join` and `part`.

Three lists make up who is dialled: those of the configuration, those that were saved (a file in
the state directory, replaced as a whole) and those that were joined until the daemon stops. What
the file holds is believed no more than what a stream brings: each line is looked at, and what is
no address is said and left out.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from scuttled.config.config import parse_address
from scuttled.config.settings import toml
from scuttled.errors import ConfigError, Refused, StorageError, UsageError
from scuttled.gossip.dialer import Dialler
from scuttled.gossip.targets import TARGETS_MAX, Peer, Target, normal
from scuttled.storage.storage import Storage

logger = logging.getLogger(__name__)

CONFIGURED, SAVED, JOINED = "", "saved", "joined"  # where a target comes from

Setting = tuple[str, str, str]  # key, value as TOML, origin


class Peering:
    """Lists of who is dialled, and why."""

    def __init__(
        self,
        dialler: Dialler,
        storage: Storage | None,
        start: Callable[[Target], None],
        name: str,
    ) -> None:
        """`start` begins a target's task; `name` is this node's."""
        self.dialler = dialler
        self.storage = storage
        self._start = start
        self._name = name

    def begin(self, configured: Iterable[str]) -> None:
        """Dial whom the configuration names, and who was saved."""
        self._dial(configured, CONFIGURED)
        try:
            self._dial(self._read_saved(), SAVED)
        except StorageError as error:  # no reason not to start
            logger.warning("%s: the peers that were saved are not dialled", error.message)

    def _dial(self, addresses: Iterable[str], origin: str) -> list[str]:
        added = []
        for text in addresses:
            if self.dialler.targets.find(text) is None and len(self.dialler.targets) < TARGETS_MAX:
                self._start(self.dialler.targets.add(text, origin))
                added.append(text)
        return added

    # --- the file ---

    def _read_saved(self) -> list[str]:
        """Addresses in it that are good. Raises StorageError if it can't be read at all."""
        if self.storage is None:
            return []
        good = []
        for line in self.storage.read_peers():
            try:
                check_peer(line)
            except ConfigError as error:
                logger.warning("a saved peer is left out: %s", error.message)
            else:
                good.append(line)
        if len(good) > TARGETS_MAX:
            logger.warning("%d peers are saved, the first %d are dialled", len(good), TARGETS_MAX)
        return good[:TARGETS_MAX]

    # --- what people ask for ---

    def join(self, addresses: list[str], save: bool) -> dict[str, Any]:
        """Dial these, too. Raises ScuttledError; then nothing was changed."""
        for text in addresses:
            check_peer(text)
        known = [text for text in addresses if self.dialler.targets.find(text) is not None]
        if len(self.dialler.targets) + len(addresses) - len(known) > TARGETS_MAX:
            raise UsageError(f"{len(addresses)} more peers, there can be at most {TARGETS_MAX}")
        if save:
            self._save(addresses)
        return {"added": self._dial(addresses, SAVED if save else JOINED), "known": known}

    def _save(self, addresses: list[str]) -> None:
        if self.storage is None:
            raise Refused("can't save peers: this daemon keeps nothing on disk (--memory)")
        saved = list(dict.fromkeys([*self._read_saved(), *addresses]))
        if len(saved) > TARGETS_MAX:
            raise UsageError(f"{len(saved)} peers to be saved, there can be at most {TARGETS_MAX}")
        self.storage.write_peers(saved)
        for text in addresses:
            target = self.dialler.targets.find(text)
            if target is not None and target.origin == JOINED:
                target.origin = SAVED

    def part(self, addresses: list[str]) -> dict[str, Any]:
        """Dial these no more, now and after a restart. Raises ScuttledError; then all is as it was.

        Those of the configuration are dialled again when the daemon starts: the answer names them.
        """
        saved = self._read_saved()
        gone = {normal(text) for text in addresses}
        for text in addresses:
            self._check_known(text, saved)
        kept = [text for text in saved if normal(text) not in gone]
        if kept != saved and self.storage is not None:
            self.storage.write_peers(kept)
        configured = []
        for text in addresses:
            target = self.dialler.part(text, f"{self._name} parts from this peer")
            if target is not None and target.origin == CONFIGURED:
                configured.append(text)
        return {"parted": addresses, "configured": configured}

    def _check_known(self, text: str, saved: list[str]) -> None:
        """Raises Refused."""
        wanted = normal(text)
        if self.dialler.targets.find(text) is not None or wanted in map(normal, saved):
            return
        for target in self.dialler.targets:
            if wanted in target.peers:
                raise Refused(
                    f"{text} is one of the addresses of {target.text}",
                    hint=f"scuttled part {target.text}",
                )
        raise Refused(f"no peer {text!r:.80} was configured or joined", hint="scuttled peers")

    # --- how it goes ---

    def decided(self, addresses: list[str]) -> bool:
        """True once each is up, or is known not to be without somebody's doing.

        Who is down may be starting at this moment; a name that nobody knows, hardly.
        """
        return all(self._is_decided(self.dialler.targets.find(text)) for text in addresses)

    def _is_decided(self, target: Target | None) -> bool:
        if target is None or not target.peers:
            return target is None or target.nowhere.failed
        shown = self.dialler.targets.shown(target)
        return all(self._state(peer) in ("up", "self", "refused") for peer in shown)

    def _state(self, peer: Peer) -> str:
        return "up" if self.dialler.targets.is_linked(peer) else peer.state

    def verdicts(self, addresses: list[str]) -> list[dict[str, Any]]:
        """Rows of `join`: each peer of these addresses, and how it goes with it."""
        return [
            {
                "address": text,
                "peer": peer.label or peer.address,
                "state": self._state(peer),
                "name": peer.name,
                "reason": peer.reason,
                "hint": peer.hint,
            }
            for text in addresses
            for peer in self._shown(text)
        ]

    def _shown(self, text: str) -> list[Peer]:
        target = self.dialler.targets.find(text)
        return [] if target is None else self.dialler.targets.shown(target)

    def settings(self, rows: list[Setting]) -> list[Setting]:
        """The settings, and the peers that are dialled though the configuration has none of it."""
        more = []
        try:
            saved = self._read_saved()
        except StorageError as error:
            saved = []
            more.append(("cluster.peers saved", toml([]), error.message))
        if saved and self.storage is not None:
            origin = f"{self.storage.directory.path / 'peers'} (join --save)"
            more.append(("cluster.peers saved", toml(saved), origin))
        targets = self.dialler.targets
        joined = [target.text for target in targets if target.origin == JOINED]
        if joined:
            more.append(("cluster.peers joined", toml(joined), "join, until the daemon stops"))
        at = 1 + max((n for n, row in enumerate(rows) if row[0] == "cluster.peers"), default=-1)
        return [*rows[:at], *more, *rows[at:]]


def check_peer(text: str) -> None:
    """Raises ConfigError if nobody can ever answer there."""
    if parse_address(text).port == 0 and not text.startswith("unix:"):
        raise ConfigError(f"{text!r} has port 0, where nobody answers: 1 to 65535")
