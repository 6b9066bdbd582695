"""The error of a server that can't start."""


class CannotStart(Exception):
    """The server can't start. The message has the reason and the remedy."""
