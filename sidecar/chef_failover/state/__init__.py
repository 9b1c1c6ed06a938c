"""state.json: its writer beside its reader, and who saves when."""
