import pytest

from scuttled import units
from scuttled.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5),
        ("5s", 5.0),
        ("2m", 120.0),
        ("1h", 3600.0),
        ("7d", 604800.0),
        ("1h30m", 5400.0),
        ("1.5s", 1.5),
        ("0", 0.0),
        (" 5s ", 5.0),
    ],
)
def test_a_duration_is_a_number_and_its_unit(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "5", "s", "-5s", "5 s", "5sec", "1e3s", "5s!", "1H", "\u0665s"]
)
def test_what_is_not_a_duration_is_refused_and_shown(text: str) -> None:
    with pytest.raises(UsageError, match="is not a duration") as caught:
        units.parse_duration(text)
    assert repr(text) in caught.value.message


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0ms"),
        (0.25, "250ms"),
        (0.9999, "1s"),
        (59.9, "59s"),
        (60, "1m"),
        (61, "1m 1s"),
        (11_520, "3h 12m"),
        (90_000, "1d 1h"),
    ],
)
def test_durations_are_shown_with_at_most_two_units(seconds: float, text: str) -> None:
    assert units.format_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_960, "1.0 MB"),
        (3_100_000, "3.1 MB"),
        (2e12, "2000.0 GB"),
    ],
)
def test_bytes_are_shown_in_thousands(count: float, text: str) -> None:
    assert units.format_bytes(count) == text


@pytest.mark.parametrize("text", ["36601d", "9" * 400 + "d"])
def test_a_duration_that_nobody_can_mean_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="too long for a duration: at most 36600d"):
        units.parse_duration(text)
