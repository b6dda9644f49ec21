"""Subscriptions to what a node has to tell: who is woken, in which order, until when."""

from support.scenes import a_node, default, save

from scuttled.node.subscribers import Subscribers, Subscription


def test_subscribers_are_woken_in_the_order_in_which_they_asked() -> None:
    woken: list[int] = []
    subscribers = Subscribers()
    for number in (3, 1, 2):
        subscribers.add(lambda number=number: woken.append(number))  # type: ignore[misc]
    subscribers.wake()
    assert woken == [3, 1, 2]


def test_a_subscription_that_was_closed_wakes_nobody_and_may_be_closed_again() -> None:
    woken: list[str] = []
    subscribers = Subscribers()
    gone, stays = (subscribers.add(lambda who=who: woken.append(who)) for who in "ab")  # type: ignore[misc]
    gone.close()
    gone.close()
    subscribers.wake()
    assert woken == ["b"]
    stays.close()
    assert len(subscribers) == 0


def test_one_function_may_be_subscribed_twice_and_each_handle_ends_its_own() -> None:
    woken: list[str] = []
    subscribers = Subscribers()
    with subscribers.add(lambda: woken.append("bell")):
        with subscribers.add(lambda: woken.append("bell")):
            subscribers.wake()
        subscribers.wake()
    subscribers.wake()
    assert woken == ["bell"] * 3


def test_a_subscriber_may_leave_while_it_is_woken() -> None:
    woken: list[str] = []
    subscribers = Subscribers()
    handles: list[Subscription] = []

    def once() -> None:
        woken.append("once")
        handles[0].close()

    handles.append(subscribers.add(once))
    subscribers.add(lambda: woken.append("always"))
    subscribers.wake()
    subscribers.wake()
    assert woken == ["once", "always", "always"]


def test_what_is_accepted_and_what_is_saved_wake_different_subscribers() -> None:
    node = a_node(1, stored=True)
    woken: list[str] = []
    with (
        node.subscribe(lambda: woken.append("accepted")),
        node.subscribe(lambda: woken.append("saved"), saved=True),
    ):
        node.accepted(default(node))
        assert woken == ["accepted"]
        save(node)
        assert woken[0] == "accepted"
        assert {*woken[1:]} == {"saved"}
    woken.clear()
    node.accepted(default(node))
    save(node)
    assert woken == []
