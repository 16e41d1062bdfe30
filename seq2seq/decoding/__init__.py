"""Search over one `step` function, whatever network stands behind it."""
