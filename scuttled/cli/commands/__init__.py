"""One file a command, under its name. A new one has a `command` in it and its line in `cli/cli`."""
