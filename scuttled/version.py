"""The version of this package: told by commands, by the daemon, and in every HELLO."""

__version__ = "0.1.0"
