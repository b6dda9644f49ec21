"""What the daemon was told: defaults, the configuration file, the environment, options."""
