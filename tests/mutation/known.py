"""Which tests cover which file, the breaks that are known by name, and those that are none."""

_U, _P = "tests/unit/test_", "tests/property/test_"


def _tests(units: str, properties: str = "", more: str = "") -> tuple[str, ...]:
    named = [f"{_U}{name}.py" for name in units.split()]
    return (*named, *(f"{_P}{name}.py" for name in properties.split()), *more.split())


TESTS = {
    # what a node holds
    "core/update.py": _tests("update hlc scuttlebutt slots session wire"),
    "core/hlc.py": _tests("hlc scuttlebutt node members library"),
    "core/clock.py": _tests("clock scuttlebutt session"),
    "core/changes.py": _tests("slots map types security wire", "definitions"),
    "core/log.py": _tests("log slots session unsaved scuttlebutt", "sessions"),
    "core/scuttlebutt.py": _tests("scuttlebutt seed library npm_talk session link"),
    "core/sources.py": _tests("scuttlebutt link npm_talk library report"),
    "core/slots.py": _tests("slots map types rejoining", "model_laws definitions"),
    "core/observers.py": _tests("library seed security"),
    "core/following.py": _tests("npm_talk events"),
    "core/security.py": _tests("security library"),
    "core/fingerprint.py": _tests("fingerprint verifying"),
    "rejoining.py": _tests("rejoining"),
    "unsaved.py": _tests("unsaved node storage"),
    # between nodes
    "core/wire.py": _tests("wire link session handshake"),
    "core/told.py": _tests("wire sharing flow"),
    "core/handshake.py": _tests("handshake link rejoining"),
    "core/session.py": _tests("session link rejoining", "sessions"),
    "core/turns.py": _tests("session", "sessions"),
    "core/flight.py": _tests("session link receipts"),
    "core/receipts.py": _tests("receipts session link"),
    "core/link.py": _tests("link handshake gossip rejoining"),
    "core/pulse.py": _tests("link sharing"),
    "core/flow.py": _tests("flow sharing", "flow_laws"),
    "core/sharing.py": _tests("sharing flow pacing"),
    # the node
    "node.py": _tests("node link members rejoining requests"),
    "members.py": _tests("members node rejoining"),
    "links.py": _tests("link gossip handshake"),
    "verifying.py": _tests("verifying"),
    # storage
    "storage/__init__.py": _tests("storage storage_faults power_cuts daemon"),
    "storage/batch.py": _tests("storage unsaved"),
    "storage/database.py": _tests("storage storage_faults power_cuts"),
    "storage/directory.py": _tests("storage storage_faults power_cuts"),
    "storage/schema.py": _tests("storage storage_faults"),
    "storage/faults.py": _tests("storage_faults"),
    "saving.py": _tests("saving"),
    # npm
    "npm/lines.py": _tests("npm_talk npm_hazards", more="tests/fuzz/test_npm_door.py"),
    "npm/dialects.py": _tests("npm_talk npm_hazards"),
    "npm/hazards.py": _tests("npm_hazards"),
    "npm/bridge.py": _tests("npm_talk npm_hazards npm_ids"),
    "npm/talk.py": _tests("npm_talk npm_hazards npm_ids"),
    "npm/shared.py": _tests("npm_ids"),
    "npm/removals.py": _tests("npm_hazards"),
    "npm/names.py": _tests("npm_hazards npm_ids"),
    # data types
    "models/map.py": _tests("map types operations", "definitions model_laws"),
    "models/value.py": _tests("types", "definitions model_laws"),
    "models/entries.py": _tests("types events", "definitions"),
    "models/events.py": _tests("events types", "definitions"),
    "models/listening.py": _tests("events"),
    "models/set.py": _tests("types", "definitions model_laws"),
    "models/counter.py": _tests("types", "definitions model_laws"),
    "models/groups.py": _tests("types", "definitions"),
    "models/doc.py": _tests("types", "definitions model_laws"),
    "models/sequence.py": _tests("types", "sequences definitions"),
    "models/positions.py": _tests("types", "sequences"),
    "models/values.py": _tests("map types requests"),
    "models/operations.py": _tests("operations types"),
    # the control protocol
    "control.py": _tests("control"),
    "loading.py": _tests("loading requests"),
    "watching.py": _tests("watching cursors"),
    "cursors.py": _tests("cursors"),
    "tally.py": _tests("tally"),
    "requests/backup.py": _tests("requests", more="tests/e2e/test_own_types.py"),
    # a program of one's own, and dialling
    "library.py": _tests("library"),
    "keeping.py": _tests("keeping"),
    "dialling.py": _tests("dialling gossip"),
}

# (file, what stands there, what it became): all of them survived once.
NAMED = [
    ("models/sequence.py", "self._fresh(goal + (goal > at))", "self._fresh(goal)"),
    ("saving.py", "self._anew_at_s, wall_ms = now.mono_s, now.wall_ms", "wall_ms = now.wall_ms"),
    ("saving.py", "if self.node.adrift and not self.node.failing:", "if self.node.adrift:"),
    ("saving.py", "            if node.adrift:\n                self.storage.unmark()\n", ""),
    ("storage/database.py", "            self._unsure = True\n", ""),
    ("storage/database.py", "            self._in_doubt = True\n", ""),
    ("core/log.py", "        self.replaced = self.tail.first + len(self.tail.records)\n", ""),
    ("core/session.py", "if message.round == self._their_round:", "if True:"),
    ("core/session.py", "            and not self.future\n", ""),
    ("core/scuttlebutt.py", "        if timestamp <= known:", "        if timestamp < known:"),
    ("npm/talk.py", "if not (self._synced_in and self.peer):", "if not self.peer:"),
    (
        "npm/talk.py",
        "is_echo = ours is not None and model.clock.covers(ours, ticks)",
        "is_echo = False",
    ),
    ("npm/talk.py", "self._settle_tie(model, before, ticks, now)", "pass"),
    ("control.py", " or len(self._unsaved) > UNSAVED_MAX", ""),
]

# Breaks that nothing can tell from the code as it is: (file, the line, what it became), and why.
EQUAL: dict[tuple[str, str, str], str] = {
    (
        "storage/__init__.py",
        'meta: Meta = {"run": ""} if self._runs and not self.marked else {}',
        'meta: Meta = {"run": ""} if self._runs else {}',
    ): "a marked run is never taken for a clean one: see test_storage_faults, 'mark is lost'",
    (
        "storage/schema.py",
        "if db.in_transaction:",
        "if False:",
    ): "whoever opens closes the connection on an error, and that undoes the transaction",
    (
        "storage/__init__.py",
        "CHECKPOINT_BYTES = 16 << 20",
        "CHECKPOINT_BYTES = 17 << 20",
    ): "a figure and no rule",
    (
        "unsaved.py",
        "if not model.replaced:",
        "if True:",
    ): "a list or `Pieces` holds the same; the latter saves memory for a whole state",
    (
        "node.py",
        "self._dirty[name] = model",
        "pass",
    ): "`accepted` follows, but for the default model, which each start makes anew",
    (
        "core/following.py",
        "self._looked = (-1, -1) if found is not None else (clock.revision, log.durable)",
        "self._looked = (-1, -2) if found is not None else (clock.revision, log.durable)",
    ): "either is no revision and no position",
    (
        "models/groups.py",
        "self._groups[group] = filled",
        "pass",
    ): "slots that stand empty are looked at again; only time is lost",
    (
        "models/values.py",
        "elif number == TEXT:",
        "elif True:",
    ): "bytes that are no text become bytes, which they are",
}
