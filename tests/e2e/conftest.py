"""Fixtures of the tests with real processes; see fleet.py for what they can do."""

import itertools
from collections.abc import Iterator

import pytest
from support.fleet import Daemon, Fleet

_numbers = itertools.count(1)


@pytest.fixture
def model() -> str:
    """The name of a model that no other test uses."""
    return f"model-{next(_numbers)}"


@pytest.fixture
def daemon(fleet: Fleet) -> Daemon:
    """One daemon without peers, fresh for this test."""
    return fleet.daemon("a")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all tests that keep to keys and models of their own and never stop it."""
    with Fleet(tmp_path_factory.mktemp("shared")) as fleet:
        yield fleet.daemon("shared")
