"""The process: signals, systemd, logs."""
