"""Golden conversations: what two nodes say, from HELLO to BYE, in files to be read.

A change that is meant is written down by `REWRITE=1 pytest tests/conversations`, and shows in the
diff what becomes different between nodes: docs/protocol.md is then to say so, too.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from inspect import cleandoc
from pathlib import Path

import pytest
from conversation import Conversation
from scenes import NOW, WALL, Line, a_node, default, put, record, source, write

from scuttled.node.node import Node
from scuttled.protocol import codec
from scuttled.protocol.messages import Bye, Code, Delta
from scuttled.replica.change import TEXT
from scuttled.replica.update import stamp

HERE = Path(__file__).parent
REWRITE = os.environ.get("REWRITE") == "1"

Play = Callable[[], Conversation]


def met(one: Node, two: Node) -> Conversation:
    """Two nodes that are heard from the first word on, until neither has anything to say."""
    talk = Conversation(one, two)
    talk.talk()
    return talk


def linked(one: Node | None = None, two: Node | None = None) -> Conversation:
    """Two nodes that have met, and have acknowledged all they were sent."""
    talk = met(one or a_node(1), two or a_node(2))
    talk.at(0.05, "")
    talk.talk()
    talk.unheard()
    talk.tell("The link is up, and both have all there is.")
    return talk


def with_keys(number: int, **keys: str) -> Node:
    node = a_node(number)
    for key, value in keys.items():
        write(node, key, value)
    return node


def first_meeting() -> Conversation:
    """First meeting

    Each tells what it has, and is sent what it lacks. The commit comes with the last of it, and
    moves the receiver's clock; HAVE, a little later, says that it is on disk.
    """
    talk = met(with_keys(1, color="red", size="9"), with_keys(2, shape="round"))
    talk.at(0.05, "50 ms later acknowledgements are due.")
    talk.talk()
    return talk


def catching_up() -> Conversation:
    """Catching up

    n2 was away. Its clock says what it has, and it is sent the rest, frame by frame: half of each
    what has waited longest, half the newest. What was overwritten meanwhile is not sent at all.
    """
    one, two = with_keys(1, before="1"), a_node(2)
    talk = linked(one, two)
    talk.line.hang_up()
    for n in range(40):
        write(one, "counter", str(n))
    for n in range(8):
        write(one, f"large{n}", "x" * 20_000)
    talk.tell("It breaks. n1 writes 40 times to one key, 8 large values, and dials again.")
    talk.dial()
    talk.talk()
    return talk


def live_update() -> Conversation:
    """A live update

    Once both have all, an update is a DELTA with a commit. If a writer waits until others have it
    on disk, it hurries: HAVE comes at once.
    """
    talk = linked()
    one = talk.nodes[0]
    write(one, "k", "1")
    talk.tell("n1 writes k.")
    talk.talk()
    talk.at(0.1, "50 ms later acknowledgements are due.")
    talk.talk()
    put(default(one), "k", "2")
    one.hurry(default(one))
    one.accepted(default(one))
    talk.tell("n1 writes k, and its writer waits until n2 has it on disk.")
    talk.talk()
    return talk


def slow_reader() -> Conversation:
    """A reader slower than the writer

    While nothing can be sent to n2 there is no queue for it: n1 draws what stands by then, once.
    """
    talk = linked(with_keys(1, k="0"))
    for n in range(1000):
        write(talk.nodes[0], "k", str(n))
        write(talk.nodes[0], f"other{n % 3}", str(n))
    talk.tell("n1 writes 2000 times to four keys, and n2 takes nothing meanwhile.")
    talk.talk()
    return talk


def deletion() -> Conversation:
    """A deletion

    What is deleted travels as an update like any other, and outranks what stood there.
    """
    talk = linked(with_keys(1, k="1", j="2"))
    one = talk.nodes[0]
    default(one).discard("k", WALL)
    one.accepted(default(one))
    talk.tell("n1 deletes k.")
    talk.talk()
    talk.at(0.1, "50 ms later acknowledgements are due.")
    talk.talk()
    return talk


def reset_and_rejoin() -> Conversation:
    """RESET

    n2 has forgotten deletions that n1 may never have heard of: n1 lies below its floor. So n1 takes
    over the whole state of n2 in place of its own, issues anew what it alone holds of its own, and
    all its sessions start afresh, on a new connection.
    """
    one, two = with_keys(1, mine="1"), with_keys(2, k="2", gone="3")
    default(two).discard("gone", WALL)
    two.accepted(default(two))
    default(two).floor.merge(default(two).clock.items())
    talk = met(one, two)
    talk.line.hang_up()
    talk.tell("n1 dials again.")
    talk.dial()
    talk.talk()
    return talk


def twin() -> Conversation:
    """A twin

    A state directory was copied: n2 has the id of n1, and was started later. It sees that by
    itself, and takes another one.
    """
    return met(a_node(1), copied(2))


def twin_of_a_third() -> Conversation:
    """A twin of a third node

    n1 runs on a copy of the state directory of a node that was started earlier and dials n2, too.
    By that n2 knows that there are two of one id, and tells the later one, by a code.
    """
    one, two = copied(1), a_node(2)
    talk = linked(one, two)
    talk.tell("The node whose state n1 has dials n2.")
    third = Line(a_node(1), two)
    third.settle()
    talk.talk()
    assert third.up
    return talk


def copied(number: int) -> Node:
    """A node that has the state of node 1, and was started later."""
    node = a_node(1, incarnation=b"another!")
    node.settings = node.settings._replace(name=f"n{number}", began_ms=1)
    return node


def different_clusters() -> Conversation:
    """Different clusters

    They have nothing to share, and both logs say why.
    """
    return met(a_node(1), a_node(2, cluster="other"))


def a_newer_peer() -> Conversation:
    """A newer peer

    It names features that n1 does not know, and its HELLO has fields that n1 does not: they are let
    pass. A code that n1 does not know ends the link like any other.
    """
    talk = Conversation(a_node(1), a_node(2))
    talk.speak(0)
    hello = replace(talk.nodes[1].hello(NOW), newest=9, features=("rates", "colours"))
    talk.says(1, with_more_fields(codec.encode(hello)))
    talk.speak(0)
    talk.says(1, Bye(99, "for a reason of a later version"))
    return talk


def with_more_fields(frame: bytes) -> bytes:
    """As a later version may have made it: an array of two more."""
    body = bytes([frame[4] + 2]) + frame[5:] + b"\x01\x02"
    return len(body).to_bytes(4, "big") + body


def no_common_protocol() -> Conversation:
    """No common protocol

    HELLO can be read whatever the version is, so that both can say what they speak.
    """
    talk = Conversation(a_node(1), a_node(2))
    talk.speak(0)
    talk.says(1, codec.encode(replace(talk.nodes[1].hello(NOW), oldest=2, newest=3)))
    talk.speak(0)
    return talk


def a_model_of_another_type() -> Conversation:
    """A model of another type

    It ends on this link, and all else goes on.
    """
    one, two = a_node(1), a_node(2)
    one.create("stock", "map")
    two.create("stock", "log")
    talk = met(one, two)
    write(one, "k", "1")
    talk.tell("n1 writes k in the model default.")
    talk.talk()
    return talk


def flow_control() -> Conversation:
    """Flow control

    While a rate is limited somewhere, PING and PONG carry the rates, once a second. The end that
    dialled begins; n1 may write less than it wants, n2 more, so n2 gives some of it away.
    """
    talk = linked()
    for node, wanted, allowed in zip(talk.nodes, (90.0, 10.0), (20.0, 60.0), strict=True):
        course = node.sharing.course("log")
        assert course is not None
        course.flow.wanted, course.flow.allowed = wanted, allowed
    talk.tell("n1 wants 90 updates a second and may write 20, n2 wants 10 and may write 60.")
    talk.at(1.0, "A second later.")
    talk.talk()
    talk.at(2.0, "A second later.")
    talk.talk()
    return talk


def goodbye() -> Conversation:
    """Goodbye

    Leaving is not failing: what is still to be said is in the log, for the next connection.
    """
    talk = linked()
    write(talk.nodes[0], "k", "1")
    talk.tell("n1 writes k, and stops before it is sent.")
    talk.line.links[0].close(Code.LEAVING, "n1 stops")
    talk.talk()
    return talk


def clocks_too_far_apart() -> Conversation:
    """Clocks too far apart

    n2 refuses, and says HELLO before that, so that both know by how much they differ.
    """
    talk = Conversation(a_node(1), a_node(2))
    talk.says(0, replace(talk.nodes[0].hello(NOW), wall_ms=WALL + 90_000))
    talk.speak(1)
    return talk


def the_future() -> Conversation:
    """The future

    An update stamped more than 60 s ahead is refused, and no commit of that round is heeded. When
    its time has come, n2 asks for it again: a CLOCK with `again`, which n1 answers with its own.
    """
    talk = linked()
    one = talk.nodes[0]
    default(one).put("ahead", TEXT, b"1", WALL + 64_000)
    one.accepted(default(one))
    talk.tell("n1 writes a key that is stamped 64 s ahead.")
    talk.talk()
    talk.at(3.0, "It lies more than 60 s ahead for another second.")
    talk.talk()
    talk.at(4.5, "By now it lies less than 60 s ahead.")
    talk.talk()
    return talk


def out_of_step() -> Conversation:
    """Out of step

    Clocks that differ while all is quiet should not happen. Hashes that differ on two quiet PINGs
    in a row start the sessions afresh.
    """
    talk = linked(with_keys(1, k="1"))
    write(talk.nodes[0], "lost", "1")
    session = talk.line.links[0].sessions["default"]
    session.next_delta(1 << 16, talk.now)
    talk.tell("n1 writes a key, and the frame is lost by some fault.")
    for second in range(4, 20, 4):
        talk.at(float(second), "Four seconds later.")
        talk.talk()
    return talk


def nonsense() -> Conversation:
    """Nonsense

    A DELTA of a model that was never opened makes no sense. What was received until then stands.
    """
    talk = linked()
    talk.says(0, Delta("secret", 1, [], 1, None))
    talk.talk()
    return talk


def verify() -> Conversation:
    """A check

    `scuttled verify` on n1 asks for the sums of 256 buckets of keys, and then for the keys of those
    that differ.
    """
    talk = linked(with_keys(1, k="1"), with_keys(2, j="2"))
    default(talk.nodes[1]).receive([(source(7), [record("odd")])], stamp(2**62))
    talk.tell("By some fault n2 holds a key that no clock tells of. n1 is asked to check.")
    one, two = talk.nodes
    one.verifier.begin([default(one)], WALL)
    for _ in range(6):
        for node in (one, two):
            while node.verifier.step():
                pass
        talk.talk()
    return talk


PLAYS: list[Play] = [
    first_meeting, catching_up, live_update, slow_reader, deletion, reset_and_rejoin, twin,
    twin_of_a_third, different_clusters, a_newer_peer, no_common_protocol,
    a_model_of_another_type, flow_control,
    goodbye, clocks_too_far_apart, the_future, out_of_step, nonsense, verify,
]  # fmt: skip


@pytest.mark.parametrize("play", PLAYS, ids=[play.__name__ for play in PLAYS])
def test_two_nodes_say_what_they_said(play: Play) -> None:
    story = cleandoc(play.__doc__ or "")
    text = f"{story}\n\n{play().text}"
    path = HERE / f"{play.__name__}.txt"
    if REWRITE:
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_each_conversation_in_a_file_is_played() -> None:
    assert {path.stem for path in HERE.glob("*.txt")} == {play.__name__ for play in PLAYS}
