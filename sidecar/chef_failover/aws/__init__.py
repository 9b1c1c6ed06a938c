"""One AWS call in a process of its own."""
