"""The command line: the typed parser, and its messages in plain words."""
