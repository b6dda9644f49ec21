"""Who may talk to whom."""

from scuttled.core.messages import Code, Hello
from scuttled.errors import ScuttledError


class Refusal(ScuttledError):
    """This node will not have that link (or model); the peer is told the code and the words."""

    def __init__(self, code: Code, words: str) -> None:
        super().__init__(words)
        self.reason = code


def check_hello(mine: Hello, theirs: Hello, max_skew_ms: int) -> None:
    """Whether these two may talk. Raises Refusal, with words that make sense to both."""
    if theirs.cluster != mine.cluster:
        raise Refusal(
            Code.CLUSTER, f"'{theirs.cluster}' and '{mine.cluster}' are different clusters"
        )
    if max(mine.oldest, theirs.oldest) > min(mine.newest, theirs.newest):
        raise Refusal(
            Code.VERSION,
            f"no common protocol: {theirs.name} speaks {theirs.oldest} to {theirs.newest}, "
            f"{mine.name} {mine.oldest} to {mine.newest}",
        )
    if theirs.node_id == mine.node_id:
        if theirs.incarnation == mine.incarnation:
            raise Refusal(Code.SELF, "that address is this very node")
        raise Refusal(
            Code.TWIN,
            f"two live nodes have the id {mine.node_id.hex()}: {mine.name} and {theirs.name} "
            "(was a state directory copied?)",
        )
    skew = theirs.wall_ms - mine.wall_ms
    if abs(skew) > max_skew_ms:
        way = "ahead of" if skew > 0 else "behind"
        raise Refusal(
            Code.SKEW,
            f"the clock of {theirs.name} is {abs(skew) / 1000:.1f} s {way} that of {mine.name}, "
            f"allowed are {max_skew_ms / 1000:.0f} s",
        )
