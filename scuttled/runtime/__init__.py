"""What a daemon takes from the machine: streams, sockets, clocks, signals, systemd, logs, keys."""
