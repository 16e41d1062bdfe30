"""A first configuration for somebody's data: which files, which columns, which task."""
