"""Sets, counters, values and logs against what they are by definition.

A few replicas write, and pull all that another one has, in any order; beside each runs the
definition, which knows who had seen what.
"""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.exchange import author, pull, pull_all

from scuttled.models.counter import Counter
from scuttled.models.log import Log
from scuttled.models.set import Set
from scuttled.models.value import HISTORY_MAX, Value
from scuttled.replica.version_vector import Clock

REPLICAS = range(3)

replicas = st.sampled_from(REPLICAS)
pulls = st.tuples(st.just("pull"), replicas, replicas)


@dataclass
class Seen:
    """What a replica of a set knows, by definition: which adds there were, which were undone."""

    adds: set[tuple[int, str]] = field(default_factory=set)
    undone: set[tuple[int, str]] = field(default_factory=set)

    @property
    def elements(self) -> list[str]:
        return sorted({element for _, element in self.adds - self.undone})


@given(
    st.lists(
        pulls
        | st.tuples(st.sampled_from(["add", "remove"]), replicas, st.sampled_from(["a", "b", "c"])),
        max_size=30,
    )
)
def test_a_set_holds_what_was_added_and_not_removed_by_one_who_had_seen_it(steps: Any) -> None:
    sets = [Set("s", author(n)) for n in REPLICAS]
    seen = [Seen() for _ in REPLICAS]
    for number, (what, who, other) in enumerate(steps):
        match what:
            case "pull":
                pull(sets[who], sets[other])
                seen[who].adds |= seen[other].adds
                seen[who].undone |= seen[other].undone
            case "add":
                assert sets[who].add(other) is (other not in seen[who].elements)
                seen[who].adds.add((number, other))
            case _:
                assert sets[who].remove(other) is (other in seen[who].elements)
                seen[who].undone |= {add for add in seen[who].adds if add[1] == other}
        assert sets[who].to_json() == seen[who].elements
        assert sets[who].size() == len(seen[who].elements)
    pull_all(sets)
    adds = set[Any]().union(*(one.adds for one in seen))
    undone = set[Any]().union(*(one.undone for one in seen))
    for one in sets:
        assert one.to_json() == Seen(adds, undone).elements
        again = Set("s", author(9))
        pull(again, one)
        assert again.to_json() == one.to_json()


@given(st.lists(pulls | st.tuples(st.just("add"), replicas, st.integers(-9, 9)), max_size=30))
def test_a_counter_is_the_sum_of_all_that_was_added(steps: Any) -> None:
    counters = [Counter("c", author(n)) for n in REPLICAS]
    seen: list[set[tuple[int, int]]] = [set() for _ in REPLICAS]
    for number, (what, who, other) in enumerate(steps):
        if what == "pull":
            pull(counters[who], counters[other])
            seen[who] |= seen[other]
        else:
            counters[who].add(other)
            seen[who].add((number, other))
        assert counters[who].get() == sum(by for _, by in seen[who])
    pull_all(counters)
    assert {one.get() for one in counters} == {sum(by for what, _, by in steps if what == "add")}


@given(st.lists(pulls | st.tuples(st.just("set"), replicas, st.integers()), max_size=60))
def test_a_value_and_its_history_are_the_latest_writes(steps: Any) -> None:
    values = [Value("v", author(n)) for n in REPLICAS]
    for what, who, other in steps:
        if what == "pull":
            pull(values[who], values[other])
        else:
            values[who].set(other)
            assert values[who].get() == other  # a write beats what its writer could see
        assert values[who].log.live <= HISTORY_MAX
    pull_all(values)
    assert len({str(one.history_()) for one in values}) == 1
    written = [other for what, _, other in steps if what == "set"]
    assert len(values[0].history_()) == min(len(written), HISTORY_MAX)


@given(st.lists(pulls | st.tuples(st.sampled_from(["append", "remove"]), replicas, replicas)))
def test_a_log_holds_all_that_was_appended_and_not_removed(steps: Any) -> None:
    logs = [Log("l", author(n)) for n in REPLICAS]
    names: list[set[str]] = [set() for _ in REPLICAS]
    gone: set[str] = set()
    for number, (what, who, other) in enumerate(steps):
        match what:
            case "pull":
                pull(logs[who], logs[other])
                names[who] |= names[other]
            case "append":
                names[who].add(logs[who].append(number))
            case _ if names[who]:
                name = sorted(names[who])[other % len(names[who])]
                logs[who].remove(name)
                gone.add(name)
            case _:
                assert logs[who].remove("0" * 40) is False
    pull_all(logs)
    expected = sorted(set[str]().union(*names) - gone)
    for log in logs:
        assert [log.label(slot).decode() for slot in log.shown()] == expected
        assert log.clock == logs[0].clock
        assert list(log.history(Clock())) == list(logs[0].history(Clock()))
