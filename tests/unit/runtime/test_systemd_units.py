"""The shipped units, as systemd itself reads them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from scuttled.errors import CONFIG

UNITS = Path(__file__).parents[3] / "systemd"
EXPOSURE_MAX = 2.0  # of 10, by systemd-analyze; redis has 1.2, sshd 9.6


def _analyze(*args: str, runtime: Path) -> str:
    """What `systemd-analyze` prints. Missing, it skips the test; in CI it fails it."""
    if shutil.which("systemd-analyze") is None:
        if os.environ.get("CI"):
            pytest.fail("systemd-analyze is not installed: apt install systemd")
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run(
        ["systemd-analyze", *args],
        capture_output=True,
        text=True,
        env=os.environ | {"XDG_RUNTIME_DIR": str(runtime), "SYSTEMD_COLORS": "0"},
    )
    return f"{done.stdout}{done.stderr}"


def _copy(unit: str, to: Path) -> Path:
    """The unit with a program that exists, since scuttled need not be in /usr/bin here."""
    text = (UNITS / unit).read_text(encoding="utf-8")
    copy = to / Path(unit).name
    copy.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", text), encoding="utf-8")
    return copy


def _values(unit: str, key: str) -> list[str]:
    lines = (UNITS / unit).read_text(encoding="utf-8").splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{key}=")]


def test_systemd_has_nothing_to_say_about_the_system_units(tmp_path: Path) -> None:
    units = [str(_copy(f"scuttled.{kind}", tmp_path)) for kind in ("service", "socket")]
    assert _analyze("verify", "--man=no", *units, runtime=tmp_path) == ""


def test_systemd_has_nothing_to_say_about_the_user_unit(tmp_path: Path) -> None:
    unit = str(_copy("user/scuttled.service", tmp_path))
    assert _analyze("verify", "--user", "--man=no", unit, runtime=tmp_path) == ""


def test_the_service_is_locked_up(tmp_path: Path) -> None:
    unit = str(_copy("scuttled.service", tmp_path))
    words = _analyze("security", "--offline=true", "--no-pager", unit, runtime=tmp_path)
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", words)
    assert exposure, words
    assert float(exposure[1]) <= EXPOSURE_MAX


@pytest.mark.parametrize("unit", ["scuttled.service", "user/scuttled.service"])
def test_a_service_is_supervised_and_a_wrong_configuration_is_not_retried(unit: str) -> None:
    assert _values(unit, "Type") == ["notify"]
    assert _values(unit, "Restart") == ["on-failure"]
    assert _values(unit, "RestartPreventExitStatus") == [str(CONFIG)]
    assert int(_values(unit, "WatchdogSec")[0]) > 0
    assert _values(unit, "ExecStart")[0].endswith("/scuttled serve")


def test_the_control_socket_lies_where_the_service_keeps_its_runtime_directory() -> None:
    assert _values("scuttled.socket", "ListenStream") == ["/run/scuttled/control.sock"]
    assert _values("scuttled.socket", "FileDescriptorName") == ["control"]
    assert _values("scuttled.service", "RuntimeDirectory") == ["scuttled"]
    # Else stopping the service would remove the socket that systemd still listens on.
    assert _values("scuttled.service", "RuntimeDirectoryPreserve") == ["yes"]


def test_the_user_of_the_service_is_made_by_sysusers() -> None:
    text = (UNITS / "scuttled.sysusers").read_text(encoding="utf-8")
    users = [line.split()[1] for line in text.splitlines() if line.startswith("u ")]
    assert users == _values("scuttled.service", "User") == _values("scuttled.socket", "SocketGroup")
