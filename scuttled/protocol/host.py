"""All that a link wants of its node: the one interface between them."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar

from scuttled.protocol.flow_control import FlowControl
from scuttled.protocol.messages import Ask, Code, Delta, Hello, Tell
from scuttled.replica.scuttlebutt import Received, Scuttlebutt
from scuttled.replica.update import Instant, NodeId, Source

LinkT = TypeVar("LinkT")  # Link, which stands above this room


class End(NamedTuple):
    """Why a link is over."""

    code: Code
    words: str
    by_peer: bool


class Host(ABC, Generic[LinkT]):
    """The node, as a link knows it: holder of models and links."""

    max_skew_ms: int
    sharing: FlowControl | None = None  # of rates; a host without says nothing of them

    @abstractmethod
    def hello(self, now: Instant) -> Hello: ...

    @property
    def holds_back(self) -> bool:
        """True while no session is to begin: what this host has is in the future."""
        return False

    def hear_clock(self, peer: Hello | str, now: Instant) -> None:
        """A peer told its time, be it refused or not; an address: the peer there refused ours."""

    @abstractmethod
    def establish(self, link: LinkT, now: Instant) -> None:
        """The link is up, as far as it is concerned. Raises Refusal if another one stays."""

    @abstractmethod
    def models_to_share(self) -> Iterable[Scuttlebutt]: ...

    @abstractmethod
    def model_for_peer(self, name: str, data_type: str) -> Scuttlebutt:
        """The model, opened if it was unknown. Raises Refusal."""

    @abstractmethod
    def peer_clock(self, model: Scuttlebutt, times: Mapping[Source, int], now: Instant) -> None:
        """A peer told its clock; it may know more of our own source than we do (I5)."""

    @abstractmethod
    def heard(self, link: LinkT, model: Scuttlebutt, delta: Delta, received: Received) -> None:
        """A DELTA was merged: readers are to be woken, and what was refused be told."""

    @abstractmethod
    def twin(self, node_id: NodeId, words: str) -> None:
        """An older live node has that id, by which a link of ours was known: take another one,
        if it is still ours.
        """

    @abstractmethod
    def verify(self, link: LinkT, message: Ask | Tell) -> None:
        """A peer wants to know what we hold, or tells what it holds."""

    @abstractmethod
    def cluster_size(self, model: Scuttlebutt) -> int:
        """The number of members, this node among them, that are not below the model's floor."""

    @abstractmethod
    def reset(self, link: LinkT, model: Scuttlebutt, whole: Scuttlebutt, now: Instant) -> None:
        """A peer's whole state has come, to take the place of ours. Ends all links."""
