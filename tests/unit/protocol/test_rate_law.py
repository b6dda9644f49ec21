from itertools import pairwise
from math import inf

import pytest

from scuttled.protocol.rate_law import DAEMON, PAPER, Flow, Rates, exchange


def rounds(flow: Flow, count: int, *, over: bool = False) -> None:
    for _ in range(count):
        flow.next_round(over=over)


# --- the exchange ---


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        (Rates(1, 4), Rates(2, 3), (3, 4)),  # both wants fit: half of the rest for each
        (Rates(6, 4), Rates(7, 4), (4, 4)),  # neither fits into its half
        (Rates(inf, 1), Rates(inf, 5), (3, 3)),
        (Rates(1, 4), Rates(9, 4), (1, 7)),  # one wants less than half: the other has the rest
        (Rates(0, 8), Rates(inf, 0), (0, 8)),
        (Rates(0, 0), Rates(0, 0), (0, 0)),
    ],
)
def test_an_exchange_gives_what_the_paper_says(
    mine: Rates, theirs: Rates, expected: tuple[float, float]
) -> None:
    assert (exchange(mine, theirs), exchange(theirs, mine)) == expected


def test_an_exchange_adds_the_difference_to_what_a_node_has_by_then() -> None:
    flow = Flow(10, wanted=0)
    told = flow.rates
    flow.meet(told, Rates(4, 0))  # gives 4 and half of the rest
    assert flow.allowed == 3
    flow.meet(told, Rates(4, 0))  # another one, who was told the same
    assert flow.allowed == -4


def test_a_node_without_a_limit_exchanges_nothing() -> None:
    free, limited = Flow(wanted=3), Flow(5, wanted=9)
    told = free.rates, limited.rates
    free.meet(told[0], told[1])
    limited.meet(told[1], told[0])
    assert (free.allowed, limited.allowed) == (inf, 5)


# --- the adaptation, by the paper ---


def test_one_round_over_takes_a_tenth() -> None:
    flow = Flow(10, laws=PAPER)
    flow.next_round(over=True)
    assert flow.allowed == 9


def test_five_rounds_under_in_a_row_give_a_fifth_of_an_update_a_second() -> None:
    flow = Flow(0, laws=PAPER)
    rounds(flow, 4)
    assert flow.allowed == 0
    rounds(flow, 1)
    assert flow.allowed == pytest.approx(0.2)
    rounds(flow, 4)
    rounds(flow, 1, over=True)
    rounds(flow, 4)
    assert flow.allowed == pytest.approx(0.18)


def test_the_papers_steps_are_all_alike_and_its_limit_is_never_lifted() -> None:
    flow = Flow(0, laws=PAPER)
    rounds(flow, 5_000)
    assert flow.allowed == pytest.approx(200)


# --- the adaptation, of a daemon ---


def test_a_daemon_has_no_limit_until_a_round_is_over() -> None:
    flow = Flow(wanted=500)
    rounds(flow, 1_000)
    assert not flow.limited
    flow.next_round(over=True)
    assert flow.allowed == 450


def test_who_wants_nothing_gets_its_limit_with_the_others() -> None:
    flow = Flow(wanted=0)
    flow.next_round(over=True)
    assert flow.allowed == 0


def test_a_cut_goes_from_what_is_used_to_the_part_that_gets_through() -> None:
    flow = Flow(8_000, wanted=1_000)
    flow.next_round(over=True, part=0.1)
    assert flow.allowed == 100


def test_a_part_that_is_nearly_all_is_still_a_cut() -> None:
    flow = Flow(100, wanted=200)
    flow.next_round(over=True, part=0.99)
    assert flow.allowed == 90


def test_a_debt_is_not_made_less_by_a_cut() -> None:
    flow = Flow(-5, wanted=20)
    flow.next_round(over=True)
    assert flow.allowed == -5


def test_the_way_up_hurries_and_the_limit_is_lifted_after_half_a_minute() -> None:
    flow = Flow(100, wanted=1e6)
    seen = []
    for _ in range(DAEMON.free_rounds // DAEMON.under_rounds - 1):
        rounds(flow, DAEMON.under_rounds)
        seen.append(flow.allowed)
    assert seen[0] == pytest.approx(102)
    assert seen[1] == pytest.approx(102 * 1.035)
    assert all(more <= 2 * less for less, more in pairwise(seen))
    assert seen[-1] > 1_000
    assert flow.limited
    rounds(flow, DAEMON.under_rounds)
    assert not flow.limited


def test_a_round_that_is_over_ends_the_hurry() -> None:
    flow = Flow(100, wanted=1e6)
    rounds(flow, DAEMON.free_rounds - 1)
    flow.allowed = 100
    rounds(flow, 1, over=True)
    rounds(flow, DAEMON.under_rounds)
    assert flow.allowed == pytest.approx(90 * (1 + DAEMON.rise))
