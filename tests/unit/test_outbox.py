import pytest

from scuttled.errors import RemoteProtocolError
from scuttled.protocol.messages import Bye, Code, ErrorMessage, Ping, Pong
from scuttled.protocol.outbox import OUTBOX_MAX, Outbox

PING = Ping(1, 1, b"")


def test_messages_are_said_in_turn_and_once() -> None:
    outbox = Outbox()
    outbox.say(PING)
    outbox.say(Pong(1, 1))
    outbox.say_first(Pong(2, 2))
    assert outbox.take() == [Pong(2, 2), PING, Pong(1, 1)]
    assert outbox.take() == []


def test_of_many_pings_the_latest_is_answered() -> None:
    outbox = Outbox()
    outbox.say(PING)
    for n in range(3 * OUTBOX_MAX):
        outbox.answer(Pong(n, n))
    assert outbox.take() == [PING, Pong(3 * OUTBOX_MAX - 1, 3 * OUTBOX_MAX - 1)]


def test_who_wants_too_many_answers_at_once_is_cut_off() -> None:
    outbox = Outbox()
    for _ in range(OUTBOX_MAX):
        outbox.say(PING)
    assert outbox.is_full
    with pytest.raises(RemoteProtocolError, match=f"more than {OUTBOX_MAX} messages"):
        outbox.say(PING)


def test_after_the_last_words_nothing_is_left_of_what_waited() -> None:
    outbox = Outbox()
    outbox.say(PING)
    outbox.part(Bye(Code.LEAVING, "stops"))
    assert outbox.take() == [Bye(Code.LEAVING, "stops")]


def test_a_model_is_refused_once_however_often_it_is_asked_for() -> None:
    outbox = Outbox()
    for words in ("no", "no, as I said"):
        outbox.refuse(ErrorMessage(Code.TYPE, words, "m"))
    outbox.refuse(ErrorMessage(Code.TYPE, "no", "n"))
    refusals = outbox.take_refusals()
    assert [error.model for error in refusals] == ["m", "n"]
    assert outbox.take_refusals() == []
