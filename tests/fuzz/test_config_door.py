"""The configuration: a file and an environment that nobody should have written.

Each is refused by ConfigError, or where it is empty by UsageError, with the place to mend, or
gives a configuration that, written down again as `config show` has it, is the same.
"""

import random
import re
import tempfile
from pathlib import Path

from support.doors import Door, check_words
from support.mutate import Mutator

from scuttled.config import config
from scuttled.config.config import SETTINGS
from scuttled.errors import ConfigError, UsageError

SPLIT = b"\0"  # between the file and the environment, a line for each variable
TOKENS = (
    b"[", b"]", b"{", b"}", b"=", b'"', b"'", b'"""', b"'''", b"#", b".", b",", b"\r\n", b"\\u0000",
    b"1979-13-99", b"0x", b"1e999", b"nan", b"inf", b"true", b"-0", b"_", b"\\ud800", b"=" * 3,
    b"9" * 5000, b"[" * 900, b"a = " + b"[" * 990 + b"]" * 990, b"a." * 2000, b" " * 30_000,
    b"a" + b" " * 30_000, b"\xff", b"~", b"~nobody/x", b"0660", b"5s", b"1e9d", b"\t" * 500,
    b"[::1]:0", b"host:99999", b":0", b"=default", b"a=b=c", b"\xe2\x80\xa8", b"{a.b.c={}}",
    b"9" * 400 + b"d", b"99999999999999999999d", b"0s",
)  # fmt: skip


class ConfigDoor(Door):
    name = "config"
    rooms = (
        "config/config.py", "config/file.py", "config/settings.py", "config/address.py",
        "config/locations.py", "units.py",
    )  # fmt: skip

    def mutated(self, m: Mutator, data: bytes, corpus: list[bytes]) -> bytes:
        lines = [line for line in data.split(b"\n") if m.rng.random() < 0.9 or line[:1] != b"#"]
        others = m.rng.choice(corpus).split(b"\n")
        for _ in range(m.times()):
            at = m.rng.randrange(len(lines) or 1)
            match m.rng.randrange(4):
                case 0:
                    lines = m.sequence(lines, others)
                case 1 if lines:
                    lines[at] = m.bytes(lines[at])
                case 2 if lines:
                    cut = m.rng.randint(0, len(lines[at]))
                    token = m.rng.choice(TOKENS)
                    lines[at] = lines[at][:cut] + token + lines[at][cut:]
                case _:
                    lines[at:at] = [self._setting(m)]
        return b"\n".join(lines)

    def _setting(self, m: Mutator) -> bytes:
        """A line of the table, or one that sets a variable, with something in it."""
        setting, token = m.rng.choice(SETTINGS), m.rng.choice(TOKENS)
        if m.rng.random() < 0.3:
            return SPLIT + setting.variable.encode() + b"=" + token
        quoted = m.rng.choice((token, b'"' + token + b'"', b"[" + token + b', "a"]'))
        return f"{setting.path} = ".encode() + quoted

    def take(self, data: bytes, rng: random.Random) -> None:
        text, _, variables = data.partition(SPLIT)
        environ = {"HOME": "/nowhere", "XDG_RUNTIME_DIR": "/nowhere/run"}
        for line in variables.replace(SPLIT, b"\n").splitlines():
            name, _, value = line.decode("utf-8", "surrogateescape").partition("=")
            environ[name] = value
        environ.pop("SCUTTLED_CONFIG", None)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "c.toml"
            path.write_bytes(text)
            try:
                loaded = config.load(environ, file=str(path))
            except (ConfigError, UsageError) as error:
                places = (str(path), "SCUTTLED_", "control.socket")  # or who said it
                check_words(error.message, most=1 << 21, any_of=places)
                return
            try:
                config.check_listen(loaded.config)
            except ConfigError as error:
                check_words(error.message, most=100_000, any_of=("listen",))
            self._check_again(path, loaded)

    def _check_again(self, path: Path, loaded: config.Loaded) -> None:
        lines = [f"{key} = {value}" for key, value, _ in loaded.settings()]
        written = "\n".join(lines)
        if re.search("[\udc80-\udcff]", written):
            return  # a name in the environment that is no UTF-8, which TOML can't hold
        path.write_text(written, encoding="utf-8")
        again = config.load({}, file=str(path))
        assert again.config == loaded.config, "as shown it is another configuration"


def test_whatever_stands_in_a_configuration_it_is_refused_with_its_place_or_understood() -> None:
    ConfigDoor().fuzz(400)
