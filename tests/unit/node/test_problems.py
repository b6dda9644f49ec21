"""Problems are said once in the log, each time they come."""

from scuttled.node.problems import Problem, ProblemLog

ALONE = Problem("alone", "no link", "scuttled join ADDR")
PEER = Problem("peer", "peer db1 is down", about="db1")


def test_a_problem_is_said_when_it_has_stood_for_a_while_and_then_no_more() -> None:
    log = ProblemLog(())
    assert log.news([ALONE], 0.0, after_s=10.0) == []
    assert log.news([ALONE], 9.0, after_s=10.0) == []
    assert log.news([ALONE], 10.0, after_s=10.0) == [ALONE]
    worded_anew = ALONE._replace(words="no link for 15 s")
    assert log.news([worded_anew], 15.0, after_s=10.0) == []


def test_a_problem_that_comes_again_is_said_again() -> None:
    log = ProblemLog(())
    assert log.news([ALONE], 0.0, after_s=0.0) == [ALONE]
    assert log.news([], 5.0, after_s=0.0) == []
    assert log.news([ALONE], 10.0, after_s=0.0) == [ALONE]


def test_one_that_went_before_its_time_was_up_begins_anew() -> None:
    log = ProblemLog(())
    log.news([ALONE], 0.0, after_s=10.0)
    log.news([], 5.0, after_s=10.0)
    assert log.news([ALONE], 11.0, after_s=10.0) == []


def test_what_is_logged_by_whoever_finds_it_is_not_said_twice() -> None:
    log = ProblemLog(("peer",))
    assert log.news([PEER, ALONE], 0.0, after_s=0.0) == [ALONE]


def test_two_of_one_code_are_told_apart_by_what_they_are_about() -> None:
    log = ProblemLog(())
    other = PEER._replace(about="db2", words="peer db2 is down")
    assert log.news([PEER], 0.0, after_s=0.0) == [PEER]
    assert log.news([PEER, other], 5.0, after_s=0.0) == [other]
