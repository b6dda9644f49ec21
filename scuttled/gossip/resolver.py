"""Looking up where the targets of a node lead: names move, and every round asks again.

A look-up may hang for as long as the system's resolver likes. It is waited for in a task of its
own, one for each target, so that it holds up neither the dials of this target nor of others.
"""

import logging
import socket

import trio

from scuttled.errors import ConfigError
from scuttled.gossip.targets import Target, Targets
from scuttled.node.node import Node
from scuttled.runtime.causes import words_of
from scuttled.runtime.environment import Environment

logger = logging.getLogger(__name__)

LOOK_UP_S = 5.0  # that a round waits for an answer; it then goes on with what is known

# What the resolver says of a name that is there, but leads nowhere, or is not there at all. All
# else (no server answers) says nothing of the name: then the addresses that are known stay.
NOWHERE = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
NOWHERE.add(getattr(socket, "EAI_ADDRFAMILY", socket.EAI_NONAME))


class Resolver:
    """Looks up names for a node's dialer."""

    def __init__(self, node: Node, environment: Environment, targets: Targets) -> None:
        self.environment = environment
        self._node = node
        self._targets = targets

    async def look_up(self, target: Target, nursery: trio.Nursery) -> None:
        """Learn where the target leads now. One that is not answered in time goes on, in the
        nursery: it is not waited for again, and no second one is begun.
        """
        if target.answered is not None:
            return
        answered = trio.Event()
        target.answered = answered
        nursery.start_soon(self._ask, target, answered)
        with trio.move_on_after(LOOK_UP_S) as patience:
            await answered.wait()
        if patience.cancelled_caught:
            self._note_nowhere(target, f"the name was not looked up within {LOOK_UP_S:.0f} s")

    async def _ask(self, target: Target, answered: trio.Event) -> None:
        try:
            addresses = await self.environment.look_up(target.text)
        except (OSError, ConfigError) as error:
            if isinstance(error, ConfigError) or error.errno in NOWHERE:
                self._targets.lead(target, ())
            hint = f"if that is not its name: scuttled part {target.text}"
            self._note_nowhere(target, words_of(error), hint)
        else:
            self._targets.lead(target, addresses)
        finally:
            target.answered = None
            answered.set()
            target.hastened.ring()

    def _note_nowhere(self, target: Target, reason: str, hint: str = "") -> None:
        if reason != target.nowhere.reason:
            logger.info("peer %s: %s", target.text, reason)
        target.nowhere.fails("down", reason, hint)
        self._node.made_progress()  # `join` may wait for how it goes
