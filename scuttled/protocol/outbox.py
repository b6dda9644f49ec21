"""Outbox of a link: the few small messages that are decided before the stream can take them.

All else that a link says is chosen at the last moment, in its `draw`. What waits here are answers
(HELLO, PONG, TELL), what was asked of the link (ASK, PING), refusals of models, and the last words.
It never grows: who asks for more answers than OUTBOX_MAX at once floods us.
"""

from collections import deque

from scuttled.errors import RemoteProtocolError
from scuttled.protocol.messages import Bye, ErrorMessage, Message, Pong

OUTBOX_MAX = 64  # small messages; more than this means that the peer floods us


class Outbox:
    """Messages in the order in which they are to be said, and refusals of models after them."""

    def __init__(self) -> None:
        self.messages: deque[Message] = deque()  # OUTBOX_MAX at most
        self.refusals: dict[str, ErrorMessage] = {}  # one for each model, however often it is asked

    @property
    def is_full(self) -> bool:
        return len(self.messages) >= OUTBOX_MAX

    def say(self, message: Message) -> None:
        """After what waits. Raises RemoteProtocolError if too much does."""
        if self.is_full:
            raise RemoteProtocolError(f"more than {OUTBOX_MAX} messages want an answer at once")
        self.messages.append(message)

    def say_first(self, message: Message) -> None:
        self.messages.appendleft(message)

    def answer(self, pong: Pong) -> None:
        """Only the latest PING is answered: who sends many has no use for the others' PONGs."""
        self.messages = deque(m for m in self.messages if not isinstance(m, Pong))
        self.say(pong)

    def refuse(self, error: ErrorMessage) -> None:
        """A model ends on this link, and all else goes on."""
        self.refusals[error.model] = error

    def part(self, last_words: Bye | ErrorMessage) -> None:
        """Nothing else is said from now on."""
        self.messages = deque([last_words])

    def take(self) -> list[Message]:
        """All messages; they are said now."""
        messages = list(self.messages)
        self.messages.clear()
        return messages

    def take_refusals(self) -> list[ErrorMessage]:
        refusals = list(self.refusals.values())
        self.refusals.clear()
        return refusals
