"""The demo: three nodes, real links, a node killed and brought back.

`nodes` are the processes, `story` is what is done to them and what was measured; how it is shown
is the command's business.
"""
