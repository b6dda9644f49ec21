"""Models in a program of one's own: kept in files, replicated over any stream (docs/library.md)."""
