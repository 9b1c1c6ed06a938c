"""config.yml: types, lines, addresses, the whole."""
