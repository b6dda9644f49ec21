"""A door to npm `scuttlebutt`: its JSON lines on one side, a model of ours on the other.

lines     the wire of the ancestor, hardened
dialects  how a change reads in npm's types, and in ours
bridge    what all conversations share: which model is meant, what each peer has sent
talk      one conversation; pure
serving   listens, dials and dials again (trio)
"""
