"""One daemon: puts the rooms together, tells how it does, takes and leaves peers."""
