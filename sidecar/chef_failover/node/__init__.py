"""Who this node is, on what machine: name, key, clone, boot, metadata service, its own network."""
