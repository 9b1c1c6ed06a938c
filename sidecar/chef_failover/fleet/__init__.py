"""All nodes at once: what they publish on their Chef servers, and which of them would outlive a server."""
