"""What it is for: every machine holds the same state. With the packages of this very machine."""

import random
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from support.fleet import Daemon, Fleet

NAMES_MIN = 20_000  # below that the lists of apt are not worth calling real input
NAMES = 60_000


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Daemon]]:
    """a - b - c: a and c know only b, b knows nobody."""
    with Fleet(tmp_path_factory.mktemp("chain")) as fleet:
        yield fleet.linked({"a": ["b"], "b": [], "c": ["b"]})


def inventory() -> bytes:
    """NAME, tab, VERSION of all that is installed here."""
    if shutil.which("dpkg-query") is None:
        return made_up(700)
    command = ["dpkg-query", "-W", "-f", "${Package}\t${Version}\n"]
    return subprocess.run(command, capture_output=True, check=True).stdout


def archive() -> bytes:
    """NAME, tab, NUMBER of every package there is; made up where apt has no lists."""
    if shutil.which("apt-cache") is not None:
        done = subprocess.run(["apt-cache", "pkgnames"], capture_output=True, check=False)
        names = sorted(set(done.stdout.split()))[:NAMES]
        if len(names) >= NAMES_MIN:
            return b"".join(b"%s\t%d\n" % (name, number) for number, name in enumerate(names))
    return made_up(NAMES)


def made_up(number: int) -> bytes:
    rng = random.Random(60_000)
    words = ["lib", "python3-", "golang-", "node-", "r-cran-", "fonts-", "", "php-", "ruby-"]
    names = {f"{rng.choice(words)}{rng.getrandbits(40):x}" for _ in range(number)}
    return "".join(f"{name}\t{rng.randint(0, 9)}.{number}-1\n" for name in names).encode()


def listing(daemon: Daemon, model: str) -> list[list[str]]:
    """`ls -l`, as a script reads it, in columns."""
    return [line.split("\t") for line in daemon.text("-m", model, "ls", "-l").splitlines()]


@pytest.mark.parametrize(("model", "source"), [("packages", inventory), ("names", archive)])
def test_an_inventory_read_in_at_one_end_is_the_same_at_the_other(
    chain: list[Daemon], model: str, source: object
) -> None:
    """And `wait --synced` is right: each comparison comes at once after it returned."""
    assert callable(source)
    a, b, c = chain
    wanted = source()
    a.cli("-m", model, "import", "--tsv", "-", stdin=wanted)
    a.wait("--synced")
    at_a, at_b = listing(a, model), listing(b, model)
    assert at_b == at_a
    b.wait("--synced")
    assert listing(c, model) == at_a
    c.wait("--synced")
    assert sorted(f"{row[0]}\t{row[1]}" for row in at_a) == sorted(wanted.decode().splitlines())
    assert {row[3] for row in at_a} == {a.ask("hello", protocol=[1, 1])["node"]}


def test_on_a_terminal_the_listings_of_all_nodes_differ_in_age_at_most(
    chain: list[Daemon],
) -> None:
    a, _, c = chain
    a.cli("-m", "shown", "import", "--tsv", "-", stdin=b"apt\t2.6\nbash\t5.2\n")
    c.wait("-m", "shown", "--key", "apt")
    command = ["-m", "shown", "ls", "-l", "--color", "never"]
    screens = [node.on_terminal(*command)[1] for node in (a, c)]
    columns = [[line.split()[:4] for line in screen.splitlines()] for screen in screens]
    assert columns[0] == columns[1]
    assert columns[0][0] == ["KEY", "VALUE", "REV", "NODE"]


def test_what_both_ends_write_at_once_ends_as_the_same_everywhere(chain: list[Daemon]) -> None:
    a, b, c = chain
    pairs = "".join(f"key/{number}\tfrom-NODE\n" for number in range(2000))
    running = [
        node.begin("-m", "both", "import", "--tsv", "/dev/stdin", stdin=subprocess.PIPE)
        for node in (a, c)
    ]
    for process, name in zip(running, "ac", strict=True):
        assert process.stdin
        process.stdin.write(pairs.replace("NODE", name).encode())
    for process in running:
        process.communicate()
        assert process.returncode == 0
    a.wait("--synced")
    c.wait("--synced")
    b.wait("--synced")
    at_a = listing(a, "both")
    assert len(at_a) == 2000
    assert listing(b, "both") == at_a
    assert listing(c, "both") == at_a


def test_a_node_that_comes_later_gets_all_there_is(chain: list[Daemon]) -> None:
    a, _, c = chain
    a.cli("-m", "before", "import", "--tsv", "-", stdin=made_up(5000))
    a.wait("--synced")
    c.stop()
    a.cli("-m", "before", "del", "--prefix", "lib", "--yes")
    a.cli("-m", "before", "set", "late", "news")
    c.restart()
    c.wait("--peers", "1", "-m", "before", "--key", "late", "--synced")
    assert listing(c, "before") == listing(a, "before")
