"""What stands on stderr, seen from outside: each test starts a process that logs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scuttled.runtime.logs import stderr_is_journal

SCRIPT = """
import logging, sys, warnings
from scuttled.runtime.logs import set_up_logging
set_up_logging("debug", "text")
set_up_logging(*sys.argv[1:3])
logger = logging.getLogger("scuttled.gossip.gossip")
exec(sys.argv[3])
"""


def _logged(log_format: str, code: str, *, level: str = "info") -> list[str]:
    command = [sys.executable, "-c", SCRIPT, level, log_format, code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_text_has_time_level_and_message() -> None:
    (line,) = _logged("text", "logger.info('link to %s up', 'db1')")
    assert re.fullmatch(r"\d\d:\d\d:\d\d info  link to db1 up", line)


def test_the_journal_gets_priorities_and_no_time() -> None:
    code = "[getattr(logger, n)('m') for n in ('debug', 'info', 'warning', 'error', 'critical')]"
    expected = ["<7>m", "<6>m", "<4>m", "<3>m", "<2>m"]
    assert _logged("journal", code, level="debug") == expected


def test_json_is_one_object_a_line() -> None:
    (line,) = _logged("json", "logger.warning('dropped\\n%d', 3)")
    fields = json.loads(line)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fields.pop("time"))
    assert fields.pop("time_ms") > 1_700_000_000_000
    assert fields == {
        "v": 1,
        "level": "warning",
        "logger": "scuttled.gossip.gossip",
        "message": "dropped\n3",
    }


def test_what_is_below_the_level_is_not_logged() -> None:
    assert _logged("journal", "logger.info('no'); logger.warning('yes')", level="warning") == [
        "<4>yes"
    ]


def test_a_message_can_not_fake_a_line_or_move_the_cursor() -> None:
    (line,) = _logged("journal", "logger.info('peer %s', 'a\\n<0>b\\x1b[2J\\tc')")
    assert line == "<6>peer a\\x0a<0>b\\x1b[2J\tc"


@pytest.mark.parametrize("log_format", ["text", "journal", "json"])
def test_a_traceback_goes_with_its_message(log_format: str) -> None:
    code = "try:\n 1/0\nexcept ZeroDivisionError:\n logger.exception('broke')"
    lines = _logged(log_format, code)
    assert "broke" in lines[0]
    assert "ZeroDivisionError" in lines[-1]
    if log_format == "journal":
        assert {line[:3] for line in lines} == {"<3>"}
    if log_format == "json":
        assert len(lines) == 1


def test_a_warning_of_python_is_a_message() -> None:
    lines = _logged("journal", "warnings.warn('old')")
    assert len(lines) == 1
    assert "UserWarning: old" in lines[0]


def test_auto_is_text_unless_stderr_itself_is_the_journals(tmp_path: Path) -> None:
    """The variable names a stream; one that was inherited and then redirected does not count."""
    code = (
        "import logging; from scuttled.runtime.logs import set_up_logging as s; s('info', 'auto')"
    )
    code += "; logging.info('m')"
    log = tmp_path / "stderr"
    for place, form in [("same", r"<6>m\n"), ("other", r"..:..:.. info  m\n")]:
        with log.open("w") as stderr:
            status = os.fstat(stderr.fileno())
            inode = status.st_ino + (place == "other")
            env = os.environ | {"JOURNAL_STREAM": f"{status.st_dev}:{inode}"}
            subprocess.run([sys.executable, "-c", code], stderr=stderr, env=env, check=True)
        assert re.fullmatch(form, log.read_text())


@pytest.mark.parametrize("stream", ["", "8", "a:b", "0:0"])
def test_a_stream_that_is_not_stderr_is_not_the_journal(stream: str) -> None:
    assert not stderr_is_journal({"JOURNAL_STREAM": stream})
