"""Threads and locks: the live snapshot, probing and upkeep of each server, the sidecar that holds them."""
