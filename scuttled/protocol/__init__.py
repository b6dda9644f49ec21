"""Anti-entropy between two nodes: messages in, messages out. No I/O, no clock, no randomness.

Read in this order: `messages`, `codec`, `session` (one model on one link), `link`. `host` is all
that a link wants of its node. docs/protocol.md tells the conversation.
"""
