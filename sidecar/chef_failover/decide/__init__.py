"""Everything that decides. Pure: no clock, chance, network, file, thread or log."""
