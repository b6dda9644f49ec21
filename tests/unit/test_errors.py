import shlex
import sys
from importlib import metadata

import pytest

from scuttled.errors import UNAVAILABLE, Unavailable, not_installed
from scuttled.runtime import keys


def test_the_hint_installs_what_the_extra_stands_for_into_this_very_python() -> None:
    error = not_installed("signing", "secure")
    assert error.code == UNAVAILABLE
    assert error.message == "signing needs the extra 'secure', which is not installed"
    python, *words = shlex.split(error.hint)
    assert python == sys.executable
    assert words[:3] == ["-m", "pip", "install"]
    assert [word.partition(">=")[0] for word in words[3:]] == ["cryptography"]


def test_without_an_installation_there_is_no_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", none)
    assert not_installed("signing", "secure").hint == ""


@pytest.mark.parametrize("use", [keys.check_with_ed25519, lambda: keys.make_seal(bytes(32))])
def test_whoever_signs_or_verifies_without_the_extra_is_told_of_it(
    use: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    with pytest.raises(Unavailable, match="extra 'secure'"):
        use()  # type: ignore[operator]
