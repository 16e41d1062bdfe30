"""The one exception that a user's mistake becomes: the commands print it as one line and exit with code 2."""


class InputError(ValueError):
    """Something the user gave is wrong; the message names it and says what to do."""
