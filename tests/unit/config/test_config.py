"""Where a setting comes from, and what is said about a wrong one."""

import dataclasses
import os
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from support.unprivileged import unprivileged

from scuttled.config.config import (
    SETTINGS,
    Address,
    Config,
    Loaded,
    check_listen,
    is_loopback,
    load,
    parse_address,
    paths,
    template,
)
from scuttled.config.settings import TYPES_KNOWN
from scuttled.errors import CONFIG, ConfigError
from scuttled.models.registry import MODELS

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home, so that nothing on the machine that runs the tests has a say.

    Not in tmp_path, which may be longer than a Unix socket's path is allowed to be.
    """
    for variable in [name for name in os.environ if name.startswith("XDG_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setattr(
        "scuttled.config.locations.SITE_FILE", str(tmp_path / "etc" / "scuttled.toml")
    )
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="home") as directory:
        monkeypatch.setenv("HOME", directory)
        yield Path(directory)


@pytest.fixture
def named(tmp_path: Path) -> Path:
    return tmp_path / "named.toml"


def _load(named: Path, text: str, environ: Mapping[str, str] = {}, **flags: object) -> Loaded:
    named.write_text(text, encoding="utf-8")
    return load(environ, file=str(named), flags=flags)


def _refusal(named: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        _load(named, text)
    assert caught.value.code == CONFIG
    return caught.value.message


def _origin(loaded: Loaded, key: str) -> str:
    return next(origin for name, _, origin in loaded.settings() if name == key)


# --- which value wins ----------------------------------------------------------------------------


def test_without_a_word_everything_has_its_default(home: Path) -> None:
    loaded = load({})
    assert loaded.path is None
    assert {origin for _, _, origin in loaded.settings()} == {"default"}
    state = home / ".local/state/scuttled"
    expected = Config(
        name=os.uname().nodename.partition(".")[0],
        data=state,
        socket=str(state / "run" / "control.sock"),
    )
    assert loaded.config == expected


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(named: Path) -> None:
    text = '\n[gossip]\nlisten = "127.0.0.1:1"\n'
    environ = {"SCUTTLED_LISTEN": "127.0.0.1:2"}
    cases = [
        (_load(named, ""), "127.0.0.1:7960", "default"),
        (_load(named, text), "127.0.0.1:1", f"file {named}:3"),
        (_load(named, text, environ), "127.0.0.1:2", "environment SCUTTLED_LISTEN"),
        (_load(named, text, environ, listen="127.0.0.1:3"), "127.0.0.1:3", "flag --listen"),
    ]
    for loaded, value, origin in cases:
        assert (loaded.config.listen, _origin(loaded, "gossip.listen")) == (value, origin)


def test_flags_that_are_not_used_are_not_given(named: Path) -> None:
    text = '[cluster]\npeers = ["db1"]\n[storage]\nmemory = true\n'
    loaded = _load(named, text, {}, peers=(), memory=False, name=None)
    assert loaded.config.peers == ("db1",)
    assert loaded.config.memory


def test_peers_may_be_repeated_or_joined_by_commas_and_count_once(named: Path) -> None:
    assert _load(named, "", peers=("db1,db2", "db1")).config.peers == ("db1", "db2")
    assert _load(named, "", {"SCUTTLED_PEERS": "db1, db2:1,"}).config.peers == ("db1", "db2:1")


def test_every_setting_can_be_given_in_every_place(named: Path) -> None:
    texts = {
        "name": "web1",
        "data": "/d",
        "cluster": "blue",
        "peers": "db1",
        "listen": "[::1]:0",
        "advertise": "web1:7",
        "insecure": "true",
        "max_clock_skew": "2m",
        "forget_after": "3d",
        "keep_deleted": "5s",
        "rejoin": "all",
        "enforce": "map,log",
        "memory": "yes",
        "sync": "full",
        "socket": "/s",
        "socket_mode": "0600",
        "socket_group": "adm",
        "types": "a.b:C",
        "sign": "true",
        "trust": "00112233445566ff",
        "npm": "127.0.0.1:7000=default",
        "npm_connect": "n:7=events:news,n:8=bucket:b.",
        "log_level": "debug",
        "log_format": "json",
    }
    assert texts.keys() == {setting.word for setting in SETTINGS}
    loaded = load({"SCUTTLED_" + word.upper(): text for word, text in texts.items()})
    assert load({}, flags=texts).config == loaded.config
    shown = "\n".join(f"{key} = {value}" for key, value, _ in loaded.settings())
    assert _load(named, shown).config == loaded.config
    assert loaded.config == Config(
        name="web1",
        data=Path("/d"),
        cluster="blue",
        peers=("db1",),
        listen="[::1]:0",
        advertise="web1:7",
        insecure=True,
        types=("a.b:C",),
        sign=True,
        trust=("00112233445566ff",),
        npm=("127.0.0.1:7000=default",),
        npm_connect=("n:7=events:news", "n:8=bucket:b."),
        max_clock_skew_s=120.0,
        forget_after_s=259_200.0,
        keep_deleted_s=5.0,
        rejoin="all",
        enforce=("map", "log"),
        memory=True,
        sync="full",
        socket="/s",
        socket_mode=0o600,
        socket_group="adm",
        log_level="debug",
        log_format="json",
    )


def test_a_flag_that_no_setting_has_is_the_callers_mistake() -> None:
    with pytest.raises(TypeError, match="colour"):
        load({}, flags={"colour": "red"})


# --- one table, three places ---------------------------------------------------------------------


def test_the_template_shows_every_setting_at_its_default_and_nothing_else() -> None:
    written = tomllib.loads(template())
    table: dict[str, dict[str, object]] = {}
    for setting in SETTINGS:
        table.setdefault(setting.section, {})[setting.key] = setting.default
    assert written == table
    assert template() == (ROOT / "config" / "scuttled.toml").read_text(encoding="utf-8")


def test_the_template_names_every_variable_and_changes_nothing(named: Path) -> None:
    assert _load(named, template()).config == load({}).config
    for setting in SETTINGS:
        assert setting.variable in template()


def test_the_defaults_of_config_are_those_of_the_table() -> None:
    given = {field.name: field.default for field in dataclasses.fields(Config)}
    assert given.keys() == {setting.field for setting in SETTINGS}
    for setting in SETTINGS:
        if given[setting.field] is not dataclasses.MISSING:
            assert given[setting.field] == setting.kind.read(setting.default)


# --- what is said about a wrong file -------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[gosip]\n", ":1: unknown section [gosip]: did you mean 'gossip'?"),
        ("\n[gossip]\nlisen = 1\n", ":3: unknown key 'lisen' in [gossip]: did you mean 'listen'?"),
        ("[gossip]\npeers = []\n", ":2: unknown key 'peers' in [gossip]: it belongs in [cluster]"),
        ("[gossip]\nqqq = 1\n", ":2: unknown key 'qqq' in [gossip]"),
        ("listen = 1\n", ":1: key 'listen' stands outside of any section: it belongs in [gossip]"),
        ("node = 3\n", ":1: 'node' is a section: write [node]"),
        ("[node]\n\nname = \n", ":3: Invalid value"),
        ("[node]\nname = 'a", ':2: Expected "\'"'),
        ("node.nam = 'x'\n", ":1: unknown key 'nam' in [node]: did you mean 'name'?"),
        ("[log]\nlevel = 'loud'\n", ':2: log.level: "loud" is not one of debug, info, '),
        (
            "[storage]\nsync = 'ful'\n",
            ":2: storage.sync: \"ful\" is not one of off, normal, full: did you mean 'full'?",
        ),
        ("[storage]\nmemory = 'yes'\n", ':2: storage.memory: "yes" is not a switch: true or false'),
        ("[node]\nname = 7\n", ":2: node.name: 7 is not text: put it in quotes"),
        ("[node]\nname = 'a b'\n", ":2: node.name: 'a b' is not a name: at most 64 characters"),
        ("[node]\ndata = 'state'\n", ":2: node.data: 'state' is not an absolute path"),
        ("[cluster]\nname = ''\n", ':2: cluster.name: "" is not the name of a cluster'),
        ("[cluster]\npeers = 'a'\n", ':2: cluster.peers: "a" is not a list: write it like ["db1"'),
        ("[cluster]\npeers = ['a b']\n", ":2: cluster.peers: 'a b' is not an address: write host"),
        ("[cluster]\npeers = ['a:0']\n", ":2: cluster.peers: 'a:0' has port 0, where nobody"),
        ("[cluster]\npeers = ['a..b']\n", ":2: cluster.peers: 'a..b' is not an address: a name's"),
        ("[gossip]\nlisten = ''\n", ":2: gossip.listen: '' is not an address"),
        ("[gossip]\nmax_clock_skew = 60\n", ":2: gossip.max_clock_skew: 60 is not a duration"),
        ("[gossip]\nmax_clock_skew = '9'\n", ":2: gossip.max_clock_skew: '9' is not a duration"),
        ("[gossip]\nmax_clock_skew = '0'\n", ":2: gossip.max_clock_skew: '0' is too short"),
        ("[control]\nmode = 660\n", ":2: control.mode: 660 is not a file mode: write it like"),
        ("[control]\nmode = '0888'\n", ':2: control.mode: "0888" is not a file mode'),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(named: Path, text: str, words: str) -> None:
    assert _refusal(named, text).startswith(f"{named}{words}")


def test_a_mistake_shows_even_where_a_flag_overrules_it(named: Path) -> None:
    with pytest.raises(ConfigError, match=f"{named}:2: log.level"):
        _load(named, "[log]\nlevel = 'loud'\n", log_level="info")


def test_a_wrong_variable_or_flag_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^environment SCUTTLED_SYNC: storage.sync: \"hard\""):
        load({"SCUTTLED_SYNC": "hard"})
    with pytest.raises(ConfigError, match=r"^--listen: gossip.listen: 'a:b' is not an address"):
        load({}, flags={"listen": "a:b"})
    with pytest.raises(ConfigError, match=r"SCUTTLED_MEMORY: storage.memory: \"maybe\" is not a"):
        load({"SCUTTLED_MEMORY": "maybe"})


def test_bytes_that_are_not_utf_8_are_refused_with_their_line(named: Path) -> None:
    named.write_bytes(b"# \xc3\xa4\n# \xe4\n")
    with pytest.raises(ConfigError, match=f"{named}:2: not UTF-8"):
        load({}, file=str(named))


# --- which file is read --------------------------------------------------------------------------


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    for environ, file in [({}, "/nowhere.toml"), ({"SCUTTLED_CONFIG": "/nowhere.toml"}, None)]:
        with pytest.raises(ConfigError, match=r"/nowhere.toml: no such file"):
            load(environ, file=file)
    with pytest.raises(ConfigError, match="Is a directory"):
        load({}, file=str(tmp_path))


def test_the_first_of_the_default_files_is_read(home: Path, tmp_path: Path) -> None:
    unit = tmp_path / "unit"
    environ = {"CONFIGURATION_DIRECTORY": str(unit)}
    looked_at = [unit, home / ".config/scuttled", tmp_path / "etc"]
    for directory in reversed(looked_at):
        directory.mkdir(parents=True)
        file = directory / "scuttled.toml"
        file.write_text(f"[node]\nname = '{directory.name}'\n")
        assert load(environ).path == str(file)
        assert load(environ).config.name == directory.name
    files = [path for what, path in paths(environ) if what == "config file"]
    assert files == [str(directory / "scuttled.toml") for directory in looked_at]


def test_a_default_file_out_of_reach_is_not_passed_over(home: Path) -> None:
    directory = home / ".config" / "scuttled"
    directory.mkdir(parents=True, mode=0)
    with pytest.raises(ConfigError, match="Permission denied"), unprivileged():
        load({})
    directory.chmod(0o700)


# --- places --------------------------------------------------------------------------------------


def test_systemd_says_where_state_and_socket_lie() -> None:
    environ = {"STATE_DIRECTORY": "/var/lib/s:/var/lib/t", "RUNTIME_DIRECTORY": "/run/s"}
    loaded = load(environ)
    assert loaded.config.data == Path("/var/lib/s")
    assert loaded.config.socket == "/run/s/control.sock"
    assert _origin(loaded, "node.data") == "environment STATE_DIRECTORY"
    assert ("control socket", "/run/s/control.sock") in paths(environ)
    assert ("data", "/var/lib/s") in paths(environ)


def test_the_socket_lies_in_the_runtime_directory_only_if_that_is_private(
    home: Path,
) -> None:
    private, open_to_all, link = home / "private", home / "open", home / "link"
    private.mkdir(mode=0o700)
    open_to_all.mkdir()
    open_to_all.chmod(0o755)
    link.symlink_to(private)
    fallback = str(home / ".local/state/scuttled/run/control.sock")
    for runtime, expected in [
        (str(private), str(private / "scuttled/control.sock")),
        (str(open_to_all), fallback),
        (str(link), fallback),
        (str(home / "missing"), fallback),
        ("", fallback),
    ]:
        environ = {"XDG_RUNTIME_DIR": runtime, "SCUTTLED_DATA": "/elsewhere"}
        assert load(environ).config.socket == expected


def test_paths_of_flags_count_from_the_working_directory(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    assert load({}, flags={"data": "d1"}).config.data == home / "d1"
    assert load({"SCUTTLED_SOCKET": "~/s"}).config.socket == str(home / "s")


def test_a_socket_path_too_long_for_the_kernel_is_refused() -> None:
    assert load({}, flags={"socket": "/" + "s" * 106}).config.socket
    with pytest.raises(ConfigError, match="has 108 bytes, the path of a Unix socket at most 107"):
        load({}, flags={"socket": "/" + "s" * 107})


# --- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("db1", Address("db1", 7960)),
        ("db-1.example.org:1", Address("db-1.example.org", 1)),
        ("10.0.0.1:0", Address("10.0.0.1", 0)),
        ("[::1]", Address("::1", 7960)),
        ("[fe80::1%eth0]:65535", Address("fe80::1%eth0", 65535)),
        ("unix:/run/a.sock", Address("unix:/run/a.sock", 0)),
    ],
)
def test_an_address_is_a_host_and_perhaps_a_port(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        *("", ":7960", "a:", "a:b", "a b", "a:65536", "a:1:2", "[a]", "[]:1", "[::1", "unix:a"),
        *("a..b", ".a", "a" * 64, "unix:/a\0b", "unix:/\ud800"),
    ],
)
def test_anything_else_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_address(text)


def test_an_address_longer_than_peers_take_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match="an address of 256 characters, at most 255"):
        parse_address(".".join(["a" * 62] * 4) + ":7960")
    assert parse_address("ab." * 83 + "a:7960").port == 7960


def test_a_bare_ipv6_address_is_told_about_brackets() -> None:
    with pytest.raises(ConfigError, match=r"write \[::1\]"):
        parse_address("::1")


def test_only_this_machine_is_loopback() -> None:
    here = ["127.0.0.1", "127.9.9.9", "::1", "localhost", "unix:/x"]
    beyond = ["0.0.0.0", "::", "10.0.0.1", "db1", "localhost.example.org", "127.0.0.1.example.org"]  # noqa: S104 - never bound
    assert [host for host in here + beyond if is_loopback(host)] == here


def test_plain_tcp_beyond_this_machine_must_be_asked_for() -> None:
    config = load({}, flags={"listen": "10.0.0.1:7960"}).config
    with pytest.raises(
        ConfigError, match=r"can't listen on 10.0.0.1:7960: links are plain TCP"
    ) as caught:
        check_listen(config)
    assert caught.value.hint == "add --insecure to listen on plain TCP, or listen on 127.0.0.1"
    check_listen(dataclasses.replace(config, insecure=True))
    check_listen(load({}).config)


# --- flow control --------------------------------------------------------------------------------


def test_the_data_types_that_are_known_are_those_that_there_are() -> None:
    assert set(TYPES_KNOWN) == set(MODELS)


def test_no_data_type_at_all_may_be_slowed_down(named: Path) -> None:
    assert _load(named, "[flow]\nenforce = []\n").config.enforce == ()


def test_a_data_type_that_is_not_known_is_an_error_with_the_nearest_one(named: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(named, '[flow]\nenforce = ["log", "event"]\n')
    assert caught.value.message.startswith(f"{named}:2: flow.enforce: 'event' is not one of map, ")
    assert caught.value.message.endswith(": did you mean 'events'?")


def test_types_of_ones_own_are_not_known_before_they_are_imported(named: Path) -> None:
    text = '[node]\ntypes = ["a.b:C"]\n[flow]\nenforce = ["tally"]\n'
    assert _load(named, text).config.enforce == ("tally",)


def test_what_is_no_list_is_told_how_to_be_one(named: Path) -> None:
    with pytest.raises(ConfigError, match="true is not a list of data types"):
        _load(named, "[flow]\nenforce = true\n")


@pytest.mark.parametrize("duration", ["20d", "1500ms", "0.0001ms", "36600d", "3h12m"])
def test_a_duration_is_shown_so_that_it_can_be_read_again(named: Path, duration: str) -> None:
    loaded = _load(named, f'cluster.forget_after = "{duration}"')
    shown = next(value for key, value, _ in loaded.settings() if key == "cluster.forget_after")
    assert _load(named, f"cluster.forget_after = {shown}").config == loaded.config


@pytest.mark.parametrize(
    ("value", "words"),
    [("[" * 900, "nested too deep"), ("9" * 5000, "a number of more than 4300 digits")],
)
def test_what_python_itself_gives_up_on_is_refused_with_its_file(
    named: Path, value: str, words: str
) -> None:
    message = _refusal(named, f"[cluster]\npeers = {value}\n")
    assert str(named) in message
    assert words in message
