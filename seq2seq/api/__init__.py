"""Python's way in: a loaded model and what it says, a training from a script or a notebook."""
