"""What can be wrong, each as one line."""


class FileError(ValueError):
    """A file is not one that can be run; the message names it and says what is wrong."""


class RequestError(ValueError):
    """A text or a setting of a call is wrong; the message names it and says what to do."""
