"""The state directory: one SQLite file that mirrors every arrival log, and what keeps it."""
