"""The data types, one file each, and their table in `registry`."""
