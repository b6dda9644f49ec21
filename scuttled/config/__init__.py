"""Configuration of the daemon: defaults, a file, the environment, options."""
