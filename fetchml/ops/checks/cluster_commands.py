"""Slurm's commands, as the checks of a cluster ask them."""

import subprocess

COMMAND_SECONDS = 5


def reply(*command: str) -> str | None:
    """Return what a command prints; `None` if it is missing, fails, or takes longer than
    `COMMAND_SECONDS`."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
