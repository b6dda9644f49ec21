"""scuttled: every machine of a fleet holds the same small, living state."""

__version__ = "0.1.0"
