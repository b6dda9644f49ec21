"""The command line: what all commands share. Each command has its file in `commands`.

`cli` is the street: the table of all commands, each loaded when it is used. `settings` is what the
global options say, `options` how a command is declared, `output` where answers go.
"""
