"""The machine under a daemon: streams, sockets, clocks, signals, systemd, logs, keys."""
