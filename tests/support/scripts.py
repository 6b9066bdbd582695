"""Pieces of shell scripts that tasks run."""

COUNTED = 'echo started | tee -a "$FETCHML_OUTPUTS/starts"; '
"""Record a start, for `Server.starts`."""


def until_file(name: str) -> str:
    """Wait for `Server.tell`."""
    return f"until [ -e {name} ]; do sleep 0.02; done; "
