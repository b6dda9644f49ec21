"""Replaced states: the latest reports are kept, and what models were is freed in pieces."""

from scuttled.node.replaced_states import REPORTS_MAX, SHED_PER_CALL, ReplacedStates
from scuttled.replica.rejoin import Rejoined
from scuttled.replica.scuttlebutt import Husk


def test_of_many_reports_the_latest_are_kept() -> None:
    replaced = ReplacedStates()
    for number in range(REPORTS_MAX + 3):
        replaced.note_reset(Rejoined("default", "peer", at_ms=number))
    assert [report.at_ms for report in replaced.resets] == [*range(3, REPORTS_MAX + 3)]
    assert replaced.taken_back == []


def test_what_a_model_was_is_freed_a_part_a_call() -> None:
    replaced = ReplacedStates()
    held = dict.fromkeys(range(2 * SHED_PER_CALL + 1))
    replaced.let_go([Husk([held], [])])
    replaced.shed()
    assert len(held) == SHED_PER_CALL + 1
    replaced.shed()
    replaced.shed()
    assert held == {}
