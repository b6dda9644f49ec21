"""Daemons that sign, in a chain; and one that does not."""

from support.fleet import Fleet
from support.waiting import until


def test_signed_updates_go_through_third_nodes_and_unsigned_ones_nowhere(fleet: Fleet) -> None:
    a = fleet.daemon("a", args=["--sign"])
    b = fleet.daemon("b", args=["--sign"], peers=["a"])
    c = fleet.daemon("c", args=["--sign"], peers=["b"])
    stranger = fleet.daemon("stranger", peers=["b"])
    a.cli("set", "k", "signed")
    c.wait("--key", "k=signed")
    stranger.wait("--key", "k=signed")
    stranger.cli("set", "k", "forged")
    until(lambda: b.json("status", "-j")[0]["doubted"].get("not signed"), "b to refuse it")
    assert "doubted\t" in b.text("status")
    assert "updates in default that came by stranger were not taken: 1 not signed" in b.log()
    a.cli("set", "k", "again")
    c.wait("--key", "k=again")
    assert b.text("get", "k") == "again"
    known = b.json("status", "-j")[0]["node"]
    b.kill9()
    a.cli("set", "k", "while b was down")
    b.start()
    c.wait("--key", "k=while b was down")
    assert (b.data / "key").stat().st_mode & 0o777 == 0o600
    assert b.json("status", "-j")[0]["node"] == known


def test_a_state_that_did_not_sign_is_not_taken_over_by_a_key(fleet: Fleet) -> None:
    a = fleet.daemon("a")
    a.cli("set", "k", "v")
    a.stop()
    a.args.append("--sign")
    a.start(wait=False)
    assert a.ended() == 78
    assert "which does not sign with the key there" in a.log()
    a.args.remove("--sign")
    a.start()
    assert a.text("get", "k") == "v"
