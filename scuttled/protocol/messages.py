"""Messages between two nodes. docs/protocol.md tells the conversation.

    dialler                                   listener
       HELLO ------------------------------->
       <------------------------------- HELLO
       CLOCK default, CLOCK packages ------->     one per model; then, for each model and each way:
       <------- CLOCK default, CLOCK packages
       <--- DELTA (updates the clock lacked; at the end, with a COMMIT)
       HAVE ------------------------------->      what is saved; "send no more of this"
       ... DELTA and HAVE for ever; PING and PONG when there is nothing to say

    RESET comes in place of DELTA where the other end's clock lies below our floor.

After HELLO the two ends are the same: nothing below knows who dialled.
"""

from dataclasses import dataclass, field
from enum import IntEnum

from scuttled.protocol.rate_law import Rates
from scuttled.replica.update import NodeId, Run, Source

PROTOCOL = (1, 1)  # oldest and newest version spoken here


class Code(IntEnum):
    """Why a link, or a model on a link, ended. Sent in BYE and ERROR."""

    PROTOCOL = 1  # a frame that makes no sense
    CLUSTER = 2  # another cluster's name
    VERSION = 3  # no common protocol
    SELF = 4  # both ends are the same node: a node dialled its own address
    TWIN = 5  # an older live node has your id (a copied state directory): take another one
    SKEW = 6  # clocks too far apart
    TYPE = 7  # a model is of another type there (of this model only)
    DUPLICATE = 8  # two links between the same nodes
    LEAVING = 9  # the node stops or leaves
    MODELS = 10  # more models than allowed (of this model only)
    AFRESH = 11  # a model was reset: all its sessions start anew, on new links
    SOURCES = 12  # more sources than a clock can have (of this model only)
    DONE = 13  # both ends have all there is, and wanted no more; only to who has the feature


@dataclass(frozen=True, slots=True)
class Hello:
    """The first frame each way. Refused by ERROR with a code, and words that both logs show."""

    oldest: int
    newest: int
    cluster: str
    node_id: NodeId
    incarnation: bytes  # 8 random bytes for each start of a daemon
    name: str
    address: str  # where this node can be dialled, "" if unknown
    version: str
    wall_ms: int
    features: tuple[str, ...] = ()
    began_ms: int = 0  # when this daemon was started; of two nodes with one id, the later yields
    meta: str = ""  # what an application says of itself, as JSON


@dataclass(frozen=True, slots=True)
class ClockMessage:
    """Start (or start afresh) the session of a model: "this is what I have"."""

    model: str
    data_type: str
    times: dict[Source, int]
    floor: dict[Source, int]  # who lies below has to rejoin, by a RESET
    round: int  # counts the starts on this link; DELTA answers to it
    members: int = 1  # that are not below the floor either; the smaller of two clusters resets
    size: int = 0  # updates held; likewise
    again: bool = False  # the session starts afresh: answer with a CLOCK of now
    whole: bool = False  # send all there is, whatever the clock covers (repair)


@dataclass(frozen=True, slots=True)
class Delta:
    """Updates that the receiver lacks, and, if nothing else is left to send, a commit.

    A commit says: you now lack nothing that these times cover (I3). The receiver heeds it only
    if `round` is that of its latest CLOCK.
    """

    model: str
    round: int
    runs: list[Run]
    cursor: int  # the sender's; below it, all was sent or known to be there
    commit: dict[Source, int] | None
    hurry: bool = False  # a writer waits for this to be saved: acknowledge it at once


@dataclass(frozen=True, slots=True)
class Reset:
    """A part of the whole state of a model, for a peer that lies below our floor.

    The peer gathers the parts; the last one carries clock and floor, and then it takes all of it
    at once in place of what it had.
    """

    model: str
    round: int
    runs: list[Run]
    cursor: int
    end: tuple[dict[Source, int], dict[Source, int]] | None  # clock and floor


@dataclass(frozen=True, slots=True)
class Have:
    """The sender's state on disk: the DELTAs up to `cursor`, and these times from whomever."""

    model: str
    round: int
    times: dict[Source, int]
    cursor: int


@dataclass(frozen=True, slots=True)
class Strait:
    """A node from which no more than that gets through to one of its peers."""

    node_id: NodeId
    at_ms: int  # by that node's clock; what it says later takes the place of this
    per_s: float  # updates


@dataclass(frozen=True, slots=True)
class FlowReport:
    """A node's word on the flow of one data type."""

    rates: Rates
    straits: tuple[Strait, ...] = ()
    peers: int = 1  # with how many peers it exchanges


@dataclass(frozen=True, slots=True)
class Ping:
    sent_ms: int  # comes back in PONG, for the round trip
    wall_ms: int
    clocks: bytes  # hash over all clocks; b"" while updates are under way
    flows: dict[str, FlowReport] = field(
        default_factory=dict
    )  # of data types; to who knows of RATES


@dataclass(frozen=True, slots=True)
class Pong:
    sent_ms: int  # of the PING that it answers
    wall_ms: int  # of who answers
    flows: dict[str, FlowReport] = field(
        default_factory=dict
    )  # before those of the PING are heeded


@dataclass(frozen=True, slots=True)
class Bye:
    """The end of the link, by intent: the other end need not be worried."""

    code: int
    words: str


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    """The other end did something wrong; the end of the link, or of one model on it."""

    code: int
    words: str
    model: str = field(default="")


@dataclass(frozen=True, slots=True)
class Ask:
    """Question for a check: what have you got in that model?

    Without `buckets` the sums of all are wanted, else each key in those.
    """

    number: int  # of the check; comes back in TELL
    model: str
    at_ms: int  # without what expires up to then
    buckets: list[int]


@dataclass(frozen=True, slots=True)
class Tell:
    """The answer to ASK, true of one instant, at which the model's clock had that hash."""

    number: int
    model: str
    clock: bytes
    buckets: list[int]  # as they were asked for
    sums: list[int]  # of each bucket; or else
    rows: dict[bytes, int]  # the hash of each key


Message = (
    Hello | ClockMessage | Delta | Reset | Have | Ping | Pong | Ask | Tell | Bye | ErrorMessage
)
