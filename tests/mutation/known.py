"""Which tests cover which file, the breaks that are known by name, and those that are none."""

_U, _P = "tests/unit/test_", "tests/property/test_"


def _tests(units: str, properties: str = "", more: str = "") -> tuple[str, ...]:
    named = [f"{_U}{name}.py" for name in units.split()]
    return (*named, *(f"{_P}{name}.py" for name in properties.split()), *more.split())


TESTS = {
    # what a node holds
    "replica/update.py": _tests("update hlc scuttlebutt slots session wire"),
    "replica/hlc.py": _tests("hlc scuttlebutt node members library"),
    "replica/version_vector.py": _tests("clock scuttlebutt session"),
    "replica/change.py": _tests("slots map types security wire", "definitions"),
    "replica/arrival_log.py": _tests("log slots session checkpoint scuttlebutt", "sessions"),
    "replica/scuttlebutt.py": _tests("scuttlebutt seed library npm_talk session link"),
    "replica/sources.py": _tests("scuttlebutt link npm_talk library report"),
    "replica/slots.py": _tests("slots map types rejoining", "model_laws definitions"),
    "replica/observers.py": _tests("library seed security"),
    "replica/subscription.py": _tests("npm_talk events"),
    "replica/signatures.py": _tests("security library"),
    "replica/fingerprint.py": _tests("fingerprint verifying"),
    "replica/rejoin.py": _tests("rejoining"),
    "replica/checkpoint.py": _tests("checkpoint node storage"),
    # between nodes
    "protocol/codec.py": _tests("wire link session handshake"),
    "protocol/framing.py": _tests("wire link"),
    "protocol/flow_codec.py": _tests("wire sharing flow"),
    "protocol/handshake.py": _tests("handshake link rejoining"),
    "protocol/session.py": _tests("session link rejoining", "sessions"),
    "protocol/send_order.py": _tests("session", "sessions"),
    "protocol/in_flight.py": _tests("session link receipts"),
    "protocol/acks.py": _tests("receipts session link"),
    "protocol/outbox.py": _tests("outbox link"),
    "protocol/link.py": _tests("link handshake gossip rejoining"),
    "protocol/heartbeat.py": _tests("link sharing"),
    "protocol/rate_law.py": _tests("flow sharing", "flow_laws"),
    "protocol/flow_control.py": _tests("sharing flow pacing"),
    # the node
    "node/node.py": _tests("node link members rejoining requests"),
    "node/durability.py": _tests("node storage storage_faults saving"),
    "node/membership.py": _tests("members node rejoining"),
    "node/links.py": _tests("link gossip handshake"),
    "node/consistency.py": _tests("verifying"),
    # storage
    "storage/storage.py": _tests("storage storage_faults power_cuts daemon"),
    "storage/database.py": _tests("storage storage_faults power_cuts"),
    "storage/directory.py": _tests("storage storage_faults power_cuts"),
    "storage/schema.py": _tests("storage storage_faults"),
    "storage/errors.py": _tests("storage_faults"),
    "storage/flusher.py": _tests("saving"),
    # npm
    "npm/codec.py": _tests("npm_talk npm_hazards", more="tests/fuzz/test_npm_door.py"),
    "npm/translation.py": _tests("npm_talk npm_hazards"),
    "npm/hazards.py": _tests("npm_hazards"),
    "npm/bridge.py": _tests("npm_talk npm_hazards npm_ids"),
    "npm/session.py": _tests("npm_talk npm_hazards npm_ids"),
    "npm/shared.py": _tests("npm_ids"),
    "npm/removals.py": _tests("npm_hazards"),
    "npm/names.py": _tests("npm_hazards npm_ids"),
    # data types
    "models/map.py": _tests("map types operations", "definitions model_laws"),
    "models/value.py": _tests("types", "definitions model_laws"),
    "models/entries.py": _tests("types events", "definitions"),
    "models/events.py": _tests("events types", "definitions"),
    "models/event_listener.py": _tests("events"),
    "models/set.py": _tests("types", "definitions model_laws"),
    "models/counter.py": _tests("types", "definitions model_laws"),
    "models/grouped.py": _tests("types", "definitions"),
    "models/doc.py": _tests("types", "definitions model_laws"),
    "models/sequence.py": _tests("types", "sequences definitions"),
    "models/positions.py": _tests("types", "sequences"),
    "models/payload.py": _tests("map types requests"),
    "models/operations.py": _tests("operations types"),
    # the control protocol
    "control/server.py": _tests("control"),
    "control/bulk_load.py": _tests("loading requests"),
    "control/watch.py": _tests("watching cursors"),
    "control/cursors.py": _tests("cursors"),
    "control/tally.py": _tests("tally"),
    "control/backup_operations.py": _tests("requests", more="tests/e2e/test_own_types.py"),
    # a program of one's own, and dialling
    "library/authors.py": _tests("library"),
    "library/model_file.py": _tests("library"),
    "library/persistence.py": _tests("keeping"),
    "gossip/dialer.py": _tests("dialling gossip"),
    "gossip/resolver.py": _tests("dialling gossip"),
    "gossip/targets.py": _tests("dialling gossip report"),
    "gossip/narrator.py": _tests("gossip"),
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
    ): "a marked run is never taken for a clean one: see test_storage_faults, 'mark is lost'",
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
