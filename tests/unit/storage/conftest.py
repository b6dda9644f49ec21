from collections.abc import Iterator

import pytest
from support.stores import abandon_all


@pytest.fixture(autouse=True)
def no_connection_is_left_open() -> Iterator[None]:
    yield
    abandon_all()
