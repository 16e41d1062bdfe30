"""A task inside Lightning's loop, and all that surrounds an optimiser step."""
