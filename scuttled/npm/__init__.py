"""A door to npm `scuttlebutt`: its JSON lines on one side, a model of ours on the other.

codec        the wire of the ancestor, hardened
translation  how a change reads in npm's types, and in ours
bridge       what all conversations share: which model is meant, what each peer has sent
session      one conversation; pure
server       listens, dials and dials again (trio)

Beside them: `guests` (the table of npm peers), `names`, `hazards` (what would end or spoil an npm
peer), `removals`, `shared`.
"""
