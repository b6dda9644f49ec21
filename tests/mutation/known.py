"""Which tests cover which file, the breaks that are known by name, and those that are none."""


def _tests(units: str, properties: str = "", more: str = "") -> tuple[str, ...]:
    """`replica/slots` is tests/unit/replica/test_slots.py."""
    rooms = [name.split("/") for name in units.split()]
    return (
        *(f"tests/unit/{room}/test_{file}.py" for room, file in rooms),
        *(f"tests/property/test_{name}.py" for name in properties.split()),
        *more.split(),
    )


TESTS = {
    # what a node holds
    "replica/update.py": _tests(
        "replica/update replica/hlc replica/scuttlebutt replica/slots "
        "protocol/session protocol/codec"
    ),
    "replica/hlc.py": _tests(
        "replica/hlc replica/scuttlebutt node/node node/membership library/model_file"
    ),
    "replica/version_vector.py": _tests(
        "replica/version_vector replica/scuttlebutt protocol/session"
    ),
    "replica/change.py": _tests(
        "replica/slots models/map models/types replica/signatures protocol/codec", "definitions"
    ),
    "replica/arrival_log.py": _tests(
        "replica/arrival_log replica/slots protocol/session replica/checkpoint replica/scuttlebutt",
        "sessions",
    ),
    "replica/scuttlebutt.py": _tests(
        "replica/scuttlebutt replica/seed library/model_file "
        "npm/session protocol/session protocol/link"
    ),
    "replica/sources.py": _tests(
        "replica/scuttlebutt protocol/link npm/session library/model_file daemon/status"
    ),
    "replica/slots.py": _tests(
        "replica/slots models/map models/types replica/rejoin", "model_laws definitions"
    ),
    "replica/observers.py": _tests("library/model_file replica/seed replica/signatures"),
    "replica/subscription.py": _tests("npm/session models/events"),
    "replica/signatures.py": _tests("replica/signatures library/model_file"),
    "replica/fingerprint.py": _tests("replica/fingerprint node/consistency"),
    "replica/rejoin.py": _tests("replica/rejoin"),
    "replica/checkpoint.py": _tests("replica/checkpoint node/node storage/storage"),
    # between nodes
    "protocol/codec.py": _tests("protocol/codec protocol/link protocol/session protocol/handshake"),
    "protocol/flow_codec.py": _tests("protocol/codec protocol/flow_control protocol/rate_law"),
    "protocol/handshake.py": _tests("protocol/handshake protocol/link replica/rejoin"),
    "protocol/session.py": _tests("protocol/session protocol/link replica/rejoin", "sessions"),
    "protocol/send_order.py": _tests("protocol/session", "sessions"),
    "protocol/in_flight.py": _tests("protocol/session protocol/link protocol/acks"),
    "protocol/acks.py": _tests("protocol/acks protocol/session protocol/link"),
    "protocol/link.py": _tests("protocol/link protocol/handshake gossip/gossip replica/rejoin"),
    "protocol/heartbeat.py": _tests("protocol/link protocol/flow_control"),
    "protocol/rate_law.py": _tests("protocol/rate_law protocol/flow_control", "flow_laws"),
    "protocol/flow_control.py": _tests(
        "protocol/flow_control protocol/rate_law control/backpressure"
    ),
    # the node
    "node/node.py": _tests(
        "node/node protocol/link node/membership replica/rejoin control/operations"
    ),
    "node/membership.py": _tests("node/membership node/node replica/rejoin"),
    "node/links.py": _tests("protocol/link gossip/gossip protocol/handshake"),
    "node/consistency.py": _tests("node/consistency"),
    # storage
    "storage/storage.py": _tests("storage/storage storage/faults storage/power_cuts daemon/daemon"),
    "storage/database.py": _tests("storage/storage storage/faults storage/power_cuts"),
    "storage/directory.py": _tests("storage/storage storage/faults storage/power_cuts"),
    "storage/schema.py": _tests("storage/storage storage/faults"),
    "storage/errors.py": _tests("storage/faults"),
    "storage/flusher.py": _tests("storage/flusher"),
    # npm
    "npm/codec.py": _tests("npm/session npm/hazards", more="tests/fuzz/test_npm_door.py"),
    "npm/translation.py": _tests("npm/session npm/hazards"),
    "npm/hazards.py": _tests("npm/hazards"),
    "npm/bridge.py": _tests("npm/session npm/hazards npm/names"),
    "npm/session.py": _tests("npm/session npm/hazards npm/names"),
    "npm/shared.py": _tests("npm/names"),
    "npm/removals.py": _tests("npm/hazards"),
    "npm/names.py": _tests("npm/hazards npm/names"),
    # data types
    "models/map.py": _tests("models/map models/types models/operations", "definitions model_laws"),
    "models/value.py": _tests("models/types", "definitions model_laws"),
    "models/entries.py": _tests("models/types models/events", "definitions"),
    "models/events.py": _tests("models/events models/types", "definitions"),
    "models/event_listener.py": _tests("models/events"),
    "models/set.py": _tests("models/types", "definitions model_laws"),
    "models/counter.py": _tests("models/types", "definitions model_laws"),
    "models/grouped.py": _tests("models/types", "definitions"),
    "models/doc.py": _tests("models/types", "definitions model_laws"),
    "models/sequence.py": _tests("models/types", "sequences definitions"),
    "models/positions.py": _tests("models/types", "sequences"),
    "models/payload.py": _tests("models/map models/types control/operations"),
    "models/operations.py": _tests("models/operations models/types"),
    # the control protocol
    "control/server.py": _tests("control/server"),
    "control/bulk_load.py": _tests("control/bulk_load control/operations"),
    "control/watch.py": _tests("control/watch control/cursors"),
    "control/cursors.py": _tests("control/cursors"),
    "control/tally.py": _tests("control/tally"),
    "control/backup_operations.py": _tests(
        "control/operations", more="tests/e2e/test_own_types.py"
    ),
    # a program of one's own, and dialling
    "library/authors.py": _tests("library/model_file"),
    "replica/default_author.py": _tests("library/authors library/model_file"),
    "library/model_file.py": _tests("library/model_file"),
    "library/persistence.py": _tests("library/persistence"),
    "gossip/dialer.py": _tests("gossip/dialer gossip/gossip"),
    "gossip/resolver.py": _tests("gossip/dialer gossip/gossip"),
    "gossip/targets.py": _tests("gossip/dialer gossip/gossip daemon/status"),
    "gossip/narrator.py": _tests("gossip/gossip"),
}

# (file, what stands there, what it became): all of them survived once.
NAMED = [
    ("models/sequence.py", "self._fresh(goal + (goal > at))", "self._fresh(goal)"),
    (
        "storage/flusher.py",
        "        self._anew_at_s = now.mono_s\n",
        "",
    ),
    (
        "storage/flusher.py",
        "if self.durability.adrift and not self.durability.failing:",
        "if self.durability.adrift:",
    ),
    (
        "storage/flusher.py",
        "            if self.durability.adrift:\n                self.storage.unmark()\n",
        "",
    ),
    ("storage/database.py", "            self._unsure = True\n", ""),
    ("storage/database.py", "            self._in_doubt = True\n", ""),
    (
        "replica/arrival_log.py",
        "        self.replaced = self.tail.first + len(self.tail.records)\n",
        "",
    ),
    ("protocol/session.py", "if message.round == self._their_round:", "if True:"),
    ("protocol/session.py", "            and not self.future\n", ""),
    ("replica/scuttlebutt.py", "        if timestamp <= known:", "        if timestamp < known:"),
    ("npm/session.py", "if not (self._synced_in and self.peer):", "if not self.peer:"),
    (
        "npm/session.py",
        "is_echo = ours is not None and model.clock.covers(ours, ticks)",
        "is_echo = False",
    ),
    ("npm/session.py", "self._settle_tie(model, before, ticks, now)", "pass"),
    ("control/server.py", " or len(self._unsaved) > UNSAVED_MAX", ""),
]

# Breaks that nothing can tell from the code as it is: (file, the line, what it became), and why.
EQUAL: dict[tuple[str, str, str], str] = {
    (
        "storage/storage.py",
        'meta: Meta = {"run": ""} if self._runs and not self.marked else {}',
        'meta: Meta = {"run": ""} if self._runs else {}',
    ): "a marked run is never taken for a clean one: see storage/test_faults, 'mark is lost'",
    (
        "storage/schema.py",
        "if db.in_transaction:",
        "if False:",
    ): "whoever opens closes the connection on an error, and that undoes the transaction",
    (
        "storage/storage.py",
        "CHECKPOINT_BYTES = 16 << 20",
        "CHECKPOINT_BYTES = 17 << 20",
    ): "a figure and no rule",
    (
        "replica/checkpoint.py",
        "if not whole:",
        "if True:",
    ): "a list or `Pieces` holds the same; the latter saves memory for a whole state",
    (
        "node/durability.py",
        "        self.note_change(model)\n",
        "",
    ): "`accepted` follows, but for the default model, which each start makes anew",
    (
        "replica/subscription.py",
        "self._looked = (-1, -1) if found is not None else (clock.revision, log.durable)",
        "self._looked = (-1, -2) if found is not None else (clock.revision, log.durable)",
    ): "either is no revision and no position",
    (
        "models/grouped.py",
        "self._groups[group] = filled",
        "pass",
    ): "slots that stand empty are looked at again; only time is lost",
    (
        "models/payload.py",
        "elif number == TEXT:",
        "elif True:",
    ): "bytes that are no text become bytes, which they are",
}
