"""The laws of flow control: the sum is kept, nobody gets less than nought, equals get the same,
and the sum comes to what can be carried.
"""

import random
from math import inf, isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scuttled.protocol.rate_law import DAEMON, PAPER, Flow, Laws, Rates, exchange

some = st.floats(0, 1e6)
rates = st.builds(Rates, some | st.just(inf), some)
LEVEL = 0.05  # of the mean: as far as equals may be apart


@given(rates, rates)
def test_an_exchange_keeps_the_sum_and_leaves_nobody_below_nought(one: Rates, other: Rates) -> None:
    new = exchange(one, other), exchange(other, one)
    assert isclose(sum(new), one.allowed + other.allowed, abs_tol=1e-6)
    assert min(new) >= -1e-6


@given(rates, rates)
def test_after_an_exchange_nobody_lacks_what_another_has_to_spare(one: Rates, other: Rates) -> None:
    new = exchange(one, other), exchange(other, one)
    total = one.allowed + other.allowed
    if one.wanted + other.wanted <= total:
        assert new[0] >= one.wanted - 1e-6
        assert new[1] >= other.wanted - 1e-6
    else:
        for got, want in zip(new, (one.wanted, other.wanted), strict=True):
            assert got <= want + 1e-6
            assert got >= min(want, total / 2) - 1e-6


@given(st.lists(rates, min_size=2, max_size=6), st.data())
def test_exchanges_that_cross_each_other_keep_the_sum(
    start: list[Rates], data: st.DataObject
) -> None:
    flows = [Flow(r.allowed, wanted=r.wanted) for r in start]
    pairs = st.tuples(*[st.integers(0, len(flows) - 1)] * 2).filter(lambda p: p[0] != p[1])
    answered = st.booleans()
    under_way: list[tuple[Flow, Rates, Rates]] = []
    for _ in range(data.draw(st.integers(1, 30))):
        if data.draw(answered) and under_way:
            flow, mine, theirs = under_way.pop(data.draw(st.integers(0, len(under_way) - 1)))
            flow.meet(mine, theirs)
        else:
            a, b = (flows[i] for i in data.draw(pairs))
            told, said = a.rates, b.rates
            b.meet(said, told)  # the answer tells b's rates of before
            under_way.append((a, told, said))
    for flow, mine, theirs in under_way:
        flow.meet(mine, theirs)
    total = sum(r.allowed for r in start)
    assert isclose(sum(f.allowed for f in flows), total, rel_tol=1e-6, abs_tol=1e-3)


def meet_at_random(flows: list[Flow], rng: random.Random) -> None:
    """Each one exchanges with another one, as in the paper's experiment."""
    for flow in flows:
        other = rng.choice([f for f in flows if f is not flow])
        mine, theirs = flow.rates, other.rates
        flow.meet(mine, theirs)
        other.meet(theirs, mine)


@given(st.lists(st.floats(0, 1_000), min_size=2, max_size=20), st.integers(0, 2**32))
def test_equal_wants_end_up_with_equal_rates(start: list[float], seed: int) -> None:
    rng = random.Random(seed)
    flows = [Flow(allowed) for allowed in start]
    for _ in range(60):
        meet_at_random(flows, rng)
    mean = sum(start) / len(start)
    assert all(abs(f.allowed - mean) <= LEVEL * mean + 1e-9 for f in flows)


def settle(flows: list[Flow], capacity_per_s: float, rng: random.Random, rounds: int) -> float:
    """Rounds in which all see whether the sum gets through; the mean sum of their last half."""
    sums = []
    for _ in range(rounds):
        meet_at_random(flows, rng)
        total = sum(min(f.allowed, f.wanted) for f in flows)
        sums.append(total)
        for flow in flows:
            flow.next_round(over=total > capacity_per_s, part=capacity_per_s / (total or 1))
    return sum(sums[rounds // 2 :]) / (rounds - rounds // 2)


@pytest.mark.parametrize(
    ("laws", "capacity_per_s", "wanted"), [(PAPER, 128, inf), (DAEMON, 20_000, 5_000)]
)
@pytest.mark.parametrize("seed", range(4))
def test_the_sum_comes_to_what_can_be_carried_and_halves_with_it(
    laws: Laws, capacity_per_s: float, wanted: float, seed: int
) -> None:
    rng = random.Random(seed)
    start = 0 if laws is PAPER else inf
    flows = [Flow(start, wanted=wanted, laws=laws) for _ in range(64)]
    before = settle(flows, capacity_per_s, rng, 200)
    assert before == pytest.approx(capacity_per_s, rel=0.12)
    after = settle(flows, capacity_per_s / 2, rng, 200)
    assert after == pytest.approx(capacity_per_s / 2, rel=0.12)
    assert after / before == pytest.approx(0.5, rel=0.12)
    each = after / len(flows)
    assert all(abs(f.allowed - each) <= 0.25 * each for f in flows)


def test_who_wants_little_gets_it_and_the_greedy_share_the_rest() -> None:
    rng = random.Random(1)
    flows = [Flow(10, wanted=want) for want in (1, 2, inf, inf)]
    for _ in range(60):
        meet_at_random(flows, rng)
    assert [round(f.allowed, 1) for f in flows] == [1, 2, 18.5, 18.5]
