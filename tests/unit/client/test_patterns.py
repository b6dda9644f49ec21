import pytest
from hypothesis import given
from hypothesis import strategies as st

from scuttled.client.patterns import (
    at_least,
    escaped,
    is_pattern,
    prefix_of,
    split_at_equals,
    unescaped,
)
from scuttled.control.watch import matcher

odd = st.text("ab*?\\/=-", max_size=8)


def means(pattern: str, key: str) -> bool:
    return matcher(pattern)(key.encode())


@given(odd, odd)
def test_an_escaped_key_means_itself_and_nothing_else(key: str, other: str) -> None:
    if not key:
        return  # "" is every key
    assert not is_pattern(escaped(key))
    assert means(escaped(key), key)
    assert means(escaped(key), other) == (key == other)
    assert unescaped(escaped(key)) == key


@given(odd, odd)
def test_a_superset_of_a_prefix_has_all_that_begin_so(prefix: str, rest: str) -> None:
    assert "\\" not in at_least(prefix), "a daemon of before this takes it for itself"
    assert means(at_least(prefix), prefix + rest)


@pytest.mark.parametrize(
    ("pattern", "key", "matches"),
    [
        ("a\\*b", "a*b", True),
        ("a\\*b", "aXb", False),
        ("\\*", "*", True),
        ("dir\\/", "dir/", True),
        ("dir\\/", "dir/x", False),
        ("dir\\\\/", "dir\\/x", True),
        ("a\\b", "a\\b", True),
        ("a\\\\b", "a\\b", True),
        ("a\\", "a\\", True),
        ("\\a*", "\\ab", True),
        ("\\**", "*b", True),
        ("\\**", "ab", False),
        ("*\\?", "a?", True),
        ("*\\?", "ab", False),
        ("*\\/", "a/", True),
        ("\\--x", "--x", True),
    ],
)
def test_a_backslash_takes_what_follows_as_it_is(pattern: str, key: str, matches: bool) -> None:
    assert means(pattern, key) == matches


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("k", "k", None),
        ("k=", "k", ""),
        ("k=a=b", "k", "a=b"),
        ("a\\=b=1", "a=b", "1"),
        ("a\\\\=1", "a\\", "1"),
        ("a\\b=\\=", "a\\b", "\\="),
        ("=v", "", "v"),
    ],
)
def test_a_key_ends_at_the_first_equals_sign_that_is_bare(
    text: str, key: str, value: str | None
) -> None:
    assert split_at_equals(text) == (key, value)


def test_the_prefix_of_a_pattern_is_what_it_means() -> None:
    assert [prefix_of(p) for p in ("a/", "a\\*b/", "a\\/", "a*/", "a")] == [
        "a/",
        "a*b/",
        "",
        "",
        "",
    ]
