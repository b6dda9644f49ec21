from support.scenes import NOW, a_map, drain, put, saved, sessions, source, sync

from scuttled.protocol.acks import Receipts
from scuttled.protocol.messages import Have


def receipts(*, stored: bool = True) -> Receipts:
    return Receipts(a_map(1, stored=stored))


def test_a_delta_is_acknowledged_once_the_log_is_saved_as_far_as_it_went_then() -> None:
    told = receipts()
    put(told.model, "k")  # type: ignore[arg-type]
    told.hear(7, told.model.log.end)
    put(told.model, "j")  # type: ignore[arg-type]
    assert told.pending
    assert not told.due
    told.model.log.saved = 1
    assert told.due
    assert told.next(3) == Have("default", 3, {}, 7)
    assert not told.pending


def test_a_cursor_that_was_heard_is_not_acknowledged_twice() -> None:
    told = receipts(stored=False)
    told.hear(7, 0)
    assert told.next(1) is not None
    told.hear(7, 0)
    told.hear(5, 0)
    assert not told.pending
    assert told.next(1) is None


def test_after_a_clock_cursors_start_anew_and_what_it_told_is_not_told_again() -> None:
    told = receipts(stored=False)
    put(told.model, "k")  # type: ignore[arg-type]
    told.hear(7, 0)
    told.clear()
    assert told.next(1) is None
    told.hear(2, 0)
    assert told.next(2) == Have("default", 2, {}, 2)


def test_what_a_commit_raised_is_told_to_who_sent_it_once_and_only_from_disk() -> None:
    """It then knows that what comes on this connection from now on is in accord."""
    one, two = a_map(1), a_map(2, stored=True)
    update = put(one, "k")
    a, b = sessions(one, two)
    for delta in drain(a):
        b.receive_delta(delta, NOW)
    two.log.taken = two.log.saved = two.log.end
    have = b.receipts.next(b.round)
    assert have is not None
    assert have.times == {}, "the updates are on disk, the clock is not"
    a.receive_have(have)
    assert b.receipts.pending
    assert not b.receipts.due
    assert update.source not in a.confirmed
    saved(two)
    assert b.receipts.due
    have = b.receipts.next(b.round)
    assert have is not None
    assert (have.times, have.cursor) == ({update.source: update.timestamp}, 0)
    a.receive_have(have)
    assert a.confirmed == {update.source: update.timestamp}
    assert not b.receipts.pending
    assert b.receipts.next(b.round) is None


def test_a_commit_without_updates_is_answered_as_well() -> None:
    one, two = a_map(1), a_map(2)
    a, b = sync(one, two)
    one.commit([(source(9), 5)])
    for delta in drain(a):
        assert delta.runs == []
        b.receive_delta(delta, NOW)
    assert b.receipts.due
    have = b.receipts.next(b.round)
    assert have is not None
    assert have.times == {source(9): 5}


def test_two_ends_that_owe_each_other_nothing_fall_silent() -> None:
    one, two = a_map(1), a_map(2)
    put(one, "j")
    put(two, "k")
    a, b = sync(one, two)
    for _ in range(2):
        for teller, hearer in ((a, b), (b, a)):
            have = teller.receipts.next(teller.round)
            if have is not None:
                hearer.receive_have(have)
    assert not a.receipts.pending
    assert not b.receipts.pending
    assert a.next_delta(9999, NOW) is None
    assert b.next_delta(9999, NOW) is None
