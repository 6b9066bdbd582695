"""Which refusals of a submit are for good, and which pass."""

AWAY_CODES = range(1000, 2000)
"""Of communication and authentication: nothing is known about the request."""
_PERMANENT = (
    "invalid",
    "node configuration is not available",
    "more processors requested than permitted",
    "requests more processors than permitted",
    "memory required by task is not available",
    "not permitted",
    "access/permission denied",
)
"""In Slurm's words for what the cluster does not have or the user may never use."""


FULL = "temporarily unable to accept job"
"""sbatch prints it and tries again by itself, for minutes."""
_FULL = (FULL, "resource temporarily unavailable")
_IN_PLAIN_WORDS = "Slurm has as many jobs as it takes (MaxJobCount)"


def plain(words: str) -> str:
    """Slurm's words, or clearer ones for users."""
    return _IN_PLAIN_WORDS if any(each in words.lower() for each in _FULL) else words


def is_permanent(words: str) -> bool:
    """Whether Slurm will always refuse the same job. Everything else, such as a full queue, a limit
    or a partition that is down, may pass: such a task waits, with Slurm's words as its reason."""
    lowered = words.lower()
    return any(each in lowered for each in _PERMANENT)


def is_away(words: str) -> bool:
    """Whether words of a command mean that the controller was not reached."""
    lowered = words.lower()
    return any(
        each in lowered
        for each in (
            "unable to contact",
            "socket timed out",
            "communication",
            "connection",
            "zero bytes were transmitted",
            "authentication",
            "credential",
            "backup controller",
            "slurm_conf",
            "unable to establish",
            "unable to process configuration",
        )
    )
