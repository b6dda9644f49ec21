"""A saved file is believed only as a whole: every flipped bit, cut and addition is noticed."""

import io
import warnings
from pathlib import Path

import pytest

from scuttled import Author, Map, Scuttlebutt, Set, load, save
from scuttled.errors import DataError, UsageError
from scuttled.library.model_file import UncheckedFile
from scuttled.replica.update import NodeId

# What was saved before files had a check: {"price": 100, "name": "apple"}, and a deletion.
OLD = bytes.fromhex(
    "000000269a02a16da36d617081c40c111111111111111100000001cf0018bcfe5680000380010100c2c2"
    "000000549703a16d0192c40c11111111111111110000000193c4130018bcfe56800000030005707269636531"
    "3030c4140018bcfe568000010100046e616d656170706c65c40f0018bcfe56800003000004676f6e6500c0c2"
    "000000209703a16d01900081c40c111111111111111100000001cf0018bcfe56800003c2"
)


def a_map() -> Map:
    model = Map("m", Author(NodeId(b"\x11" * 8), now_ms=lambda: 1_700_000_000_000))
    model.set("price", 100)
    model.set("name", "apple")
    model.set("gone", 1)
    model.delete("gone")
    return model


def saved(model: Scuttlebutt) -> bytes:
    file = io.BytesIO()
    save(model, file)
    return file.getvalue()


def refused(data: bytes) -> str:
    """What is said of that; that the model is as it was is looked at here."""
    model = Map("m")
    model.set("own", 1)
    clock = model.clock.copy_times()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UncheckedFile)
        with pytest.raises(DataError) as caught:
            load(model, io.BytesIO(data))
    assert model.to_json() == {"own": 1}
    assert model.clock.copy_times() == clock
    assert not model.floor.copy_times()
    return caught.value.message


@pytest.mark.parametrize("model", [a_map(), Map("empty")], ids=["small", "empty"])
def test_every_flipped_bit_is_noticed(model: Map) -> None:
    data = saved(model)
    for at in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[at] ^= 1 << bit
            refused(bytes(flipped))


def test_every_cut_is_noticed() -> None:
    data = saved(a_map())
    for end in range(len(data)):
        assert "too early" in refused(data[:end])


@pytest.mark.parametrize("junk", [b"\0", b"\n", b"abc", b"\0\0\0\0", b"\xff" * 5, b"\0\0\0\1\x90"])
def test_what_was_added_is_noticed(junk: bytes) -> None:
    data = saved(a_map())
    refused(data + junk)
    refused(junk + data)


def test_two_saved_models_in_one_file_are_not_one() -> None:
    data = saved(a_map())
    assert "behind the end" in refused(data + data)


def test_two_letters_that_changed_places_are_noticed() -> None:
    data = saved(a_map())
    assert "damaged" in refused(data.replace(b"apple", b"paple"))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b'{"v":1,"format":"scuttled"}\n', "scuttled import"),
        (b"SQLite format 3\0" + bytes(100), "a database"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "not a saved map: a frame of"),
        (b"key = value\n", "not a saved map: a frame of"),
        (bytes(4096), "not a saved map"),
    ],
)
def test_a_file_of_another_kind_is_told_by_its_name(data: bytes, words: str) -> None:
    assert words in refused(data)


def test_a_file_opened_as_text_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with (tmp_path / "f").open() as file, pytest.raises(UsageError, match="mode 'rb'"):
        load(Map(), file)  # type: ignore[arg-type]


def test_a_file_from_before_there_was_a_check_is_loaded_with_a_warning() -> None:
    model = Map("m")
    with pytest.warns(UncheckedFile, match="save it anew"):
        assert load(model, io.BytesIO(OLD)) == 3
    assert model.to_json() == {"price": 100, "name": "apple"}
    again = Map("m")
    load(again, io.BytesIO(saved(model)))  # which warns of nothing
    assert again.to_json() == model.to_json()


def test_what_is_saved_today_differs_from_the_old_form_in_the_check_alone() -> None:
    """So the version before reads it: it takes no notice of that field."""
    data = saved(a_map())
    at = OLD.rindex(b"\x90\x00\x81") + 1
    assert data[at : at + 1] == b"\xcf"
    length = bytes((OLD[OLD.rindex(b"\x00\x00\x00\x20") + 3] + 8,))
    head = OLD[: OLD.rindex(b"\x00\x00\x00\x20") + 3] + length
    assert data[: len(head)] == head
    assert data[len(head) : at] + b"\x00" + data[at + 9 :] == OLD[len(head) :]


def test_a_file_keeps_its_mode_and_a_link_stays_a_link(tmp_path: Path) -> None:
    file, link = tmp_path / "state", tmp_path / "link"
    save(Set(), file)
    file.chmod(0o640)
    link.symlink_to(file)
    save(a_map(), link)
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o640
    assert load(Map("m"), file) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "state"]
